import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resolution } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { JsonSink } from '../sinks/json.ts';
import type { RunEvent, Sink } from '../sinks/sink.ts';
import { TerminalSink } from '../sinks/terminal.ts';
import { type DashboardProcess, spawnDashboard } from './dashboard.ts';
import { StopOnSignal, type StopWords } from './stop-on-signal.ts';
import { STARTED, type Supervision, supervised } from './supervision.ts';
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
  /** How often in a row it is started again when its worker is lost. */
  maxRestarts?: number | undefined;
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
  { json, quiet, dashboard, maxRestarts, ...options }: ResumeInTerminalOptions,
): Promise<void> {
  await inTerminal({ json, quiet, dashboard, maxRestarts, verbose: true }, (shown) =>
    SAETrainingRunner.resume(run, { ...options, ...shown }),
  );
}

type Make = (shown: { sinks: Sink[]; log: Logger }) => Promise<SAETrainingRunner>;
type ShownAs = Shown & { verbose: boolean };

/** A run that was on its way and failed by itself. */
interface Failure {
  readonly kind: 'failed';
  readonly error: SaeLensError;
  readonly progressed: boolean;
  readonly folder: string;
}

/** To the end, started again from its newest checkpoint as often as `supervised` says. */
async function inTerminal(shown: ShownAs, make: Make): Promise<void> {
  const page = new DashboardPage(shown.dashboard ?? false);
  try {
    let state: Supervision = STARTED;
    let failure = await once(shown, make, page);
    while (failure !== null) {
      const { error, folder }: Failure = failure;
      state = supervised(state, failure, shown.maxRestarts);
      if (state.at === 'given_up') throw state.error;
      const again: Make = (parts) => SAETrainingRunner.resume(folder, parts);
      const pause = state.at === 'waiting' ? { error, ...state } : undefined;
      state = supervised(state, { kind: 'waited' });
      failure = await once(shown, again, page, pause);
    }
  } finally {
    page.close();
  }
}

/** @returns null at its end; what it failed with, when it may be started again */
async function once(
  { json, quiet, verbose }: ShownAs,
  make: Make,
  page: DashboardPage,
  pause?: { error: SaeLensError; restarts: number; delayMs: number },
): Promise<Failure | null> {
  const terminal = new TerminalSink({ quiet });
  const log = createLogger({ level: quiet || !verbose ? 'warn' : 'info', print: (line) => terminal.print(line) });
  const signals = new StopOnSignal(STOP_WORDS, (line) => log.warn(line));
  const steps = new StepsSeen();
  let folder: string | null = null;
  try {
    if (pause !== undefined) {
      const [what] = pause.error.message.split('\n');
      log.warn(`${what}: restart ${pause.restarts} in ${pause.delayMs / 1_000} s, from the newest checkpoint`);
      await Promise.race([sleep(pause.delayMs), signals.beforeStart]);
    }
    const runner = await make({ sinks: [terminal, ...(json ? [new JsonSink()] : []), steps], log });
    const run = await Promise.race([runner.start(), signals.beforeStart]);
    folder = run.paths.folder;
    run.forgetMetrics();
    signals.watch(run, () => steps.seen);
    await page.show(dirname(folder), log);
    const { ended } = await run.done;
    if (ended === 'stopped') process.exitCode = signals.exitCode;
    return null;
  } catch (cause) {
    const error = signals.explain(cause);
    if (folder === null || signals.heard || !(error instanceof SaeLensError)) throw error;
    return { kind: 'failed', error, progressed: 'checkpoint' in error.details, folder };
  } finally {
    signals.close();
  }
}

/** Its curves in a browser, one page for all restarts of a run. A run without its page is a run all the same. */
class DashboardPage {
  #process: DashboardProcess | null = null;
  #wanted: boolean;

  constructor(wanted: boolean) {
    this.#wanted = wanted;
  }

  async show(runsFolder: string, log: Logger): Promise<void> {
    if (!this.#wanted) return;
    this.#wanted = false;
    try {
      this.#process = await spawnDashboard(runsFolder);
      log.info(`dashboard  ${this.#process.url}`);
    } catch (error) {
      log.warn((error as Error).message);
    }
  }

  close(): void {
    this.#process?.close();
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
