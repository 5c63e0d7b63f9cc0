import { dirname } from 'node:path';
import type { Resolution } from '../config/index.ts';
import { createLogger, type Logger } from '../log.ts';
import { JsonSink } from '../sinks/json.ts';
import type { RunEvent, Sink } from '../sinks/sink.ts';
import { TerminalSink } from '../sinks/terminal.ts';
import { type DashboardProcess, spawnDashboard } from './dashboard.ts';
import { StopOnSignal, type StopWords } from './stop-on-signal.ts';
import { SAETrainingRunner } from './training.ts';

const STOP_WORDS: StopWords = {
  what: 'The run',
  stopping: 'finishing the step, then saving a checkpoint (Ctrl-C again to stop now)',
};

/** How a run is shown. */
interface Shown {
  /** Events on stdout. */
  json: boolean;
  /** Warnings and errors only. */
  quiet: boolean;
  /** Its curves in a browser, while it goes on. */
  dashboard?: boolean | undefined;
}

/** How `train` was called. */
export interface TerminalOptions extends Shown {
  name?: string | undefined;
  runsFolder: string;
  /** The command line, for run.json. */
  command: readonly string[];
}

/** How `resume` was called. */
export interface ResumeInTerminalOptions extends Shown {
  runsFolder: string;
  from?: string;
}

/**
 * Trains with a terminal in front: live line, Ctrl-C once for an orderly end and twice for an end at once.
 *
 * @throws SaeLensError what the run failed with; INTERRUPTED or TERMINATED when it was killed
 */
export async function trainInTerminal({ config, provenance }: Resolution, options: TerminalOptions): Promise<void> {
  const { name, runsFolder, command } = options;
  const named = name === undefined ? {} : { name };
  await inTerminal({ ...options, verbose: config.verbose }, async (shown) => {
    return new SAETrainingRunner(config, { runsFolder, ...named, ...shown, provenance, command });
  });
}

/**
 * As `trainInTerminal`, for a run that was interrupted.
 *
 * @throws SaeLensError as `trainInTerminal`; USAGE, RESUME_REFUSED when there is no going on
 */
export async function resumeInTerminal(
  run: string,
  { json, quiet, dashboard, ...options }: ResumeInTerminalOptions,
): Promise<void> {
  await inTerminal({ json, quiet, dashboard, verbose: true }, (shown) =>
    SAETrainingRunner.resume(run, { ...options, ...shown }),
  );
}

async function inTerminal(
  { json, quiet, dashboard, verbose }: Shown & { verbose: boolean },
  make: (shown: { sinks: Sink[]; log: Logger }) => Promise<SAETrainingRunner>,
): Promise<void> {
  const terminal = new TerminalSink({ quiet });
  const log = createLogger({ level: quiet || !verbose ? 'warn' : 'info', print: (line) => terminal.print(line) });
  const signals = new StopOnSignal(STOP_WORDS, (line) => log.warn(line));
  const steps = new StepsSeen();
  let page: DashboardProcess | null = null;
  try {
    const runner = await make({ sinks: [terminal, ...(json ? [new JsonSink()] : []), steps], log });
    const run = await Promise.race([runner.start(), signals.beforeStart]);
    run.forgetMetrics();
    signals.watch(run, () => steps.seen);
    if (dashboard) page = await dashboardOf(dirname(run.paths.folder), log);
    const { ended } = await run.done;
    if (ended === 'stopped') process.exitCode = signals.exitCode;
  } catch (error) {
    throw signals.explain(error);
  } finally {
    signals.close();
    page?.close();
  }
}

/** A run without its page is a run all the same. */
async function dashboardOf(runsFolder: string, log: Logger): Promise<DashboardProcess | null> {
  try {
    const dashboard = await spawnDashboard(runsFolder);
    log.info(`dashboard  ${dashboard.url}`);
    return dashboard;
  } catch (error) {
    log.warn((error as Error).message);
    return null;
  }
}

/** What can be saved depends on how far the run is. Of stages only the last in a quarter of a second is told. */
class StepsSeen implements Sink {
  readonly name = 'signals';
  seen = false;

  consume(event: RunEvent): void {
    if (event.kind === 'metrics' || (event.kind === 'stage' && event.stage === 'train')) this.seen = true;
  }

  async close(): Promise<void> {}
}
