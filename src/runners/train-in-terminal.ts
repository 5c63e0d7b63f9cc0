import type { Resolution } from '../config/index.ts';
import { ExitCode, SaeLensError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { JsonSink } from '../sinks/json.ts';
import type { Sink } from '../sinks/sink.ts';
import { TerminalSink } from '../sinks/terminal.ts';
import { SAETrainingRunner } from './training.ts';
import type { TrainingRun } from './training-run.ts';

/** After SIGTERM a container has ten seconds; the checkpoint gets most of them (faults L3). */
const TERMINATION_MS = 8_000;
/** A run that is still starting has nothing to save: it may let go of what it holds, and no disk may make it wait. */
const START_STOP_MS = 3_000;
/** Who asks twice is gone within a second, whatever a disk or a library is doing (faults L2). */
const SECOND_SIGNAL_MS = 900;

/** How `train` was called. */
export interface TerminalOptions {
  /** Events on stdout. */
  json: boolean;
  /** Warnings and errors only. */
  quiet: boolean;
  name?: string | undefined;
  runsFolder: string;
  /** The command line, for run.json. */
  command: readonly string[];
}

/**
 * Trains with a terminal in front: live line, Ctrl-C once for an orderly end and twice for an end at once.
 *
 * @throws SaeLensError what the run failed with; INTERRUPTED or TERMINATED when it was killed
 */
export async function trainInTerminal({ config, provenance }: Resolution, options: TerminalOptions): Promise<void> {
  const terminal = new TerminalSink({ quiet: options.quiet });
  const level = options.quiet || !config.verbose ? 'warn' : 'info';
  const log = createLogger({ level, print: (line) => terminal.print(line) });
  const stop = new StopOnSignal((line) => log.warn(line));
  const runner = new SAETrainingRunner(config, {
    runsFolder: options.runsFolder,
    ...(options.name === undefined ? {} : { name: options.name }),
    sinks: [terminal, ...(options.json ? [new JsonSink()] : []), stop],
    log,
    provenance,
    command: options.command,
  });
  try {
    const run = await Promise.race([runner.start(), stop.beforeStart]);
    stop.watch(run);
    const { ended } = await run.done;
    if (ended === 'stopped') process.exitCode = stop.exitCode;
  } catch (error) {
    throw stop.explain(error);
  } finally {
    stop.close();
  }
}

/** Signals for a run. A sink too, because what can be saved depends on how far the run is. */
class StopOnSignal implements Sink {
  readonly name = 'signals';
  readonly #say: (line: string) => void;
  readonly #signals: NodeJS.Signals[];
  #run: TrainingRun | null = null;
  #hasSteps = false;
  #first: NodeJS.Signals | null = null;
  #giveUp: (error: SaeLensError) => void = () => {};
  /** Rejects when a run that was told to stop does not come out of its start. */
  readonly beforeStart = new Promise<never>((_, fail) => {
    this.#giveUp = fail;
  });

  constructor(say: (line: string) => void) {
    this.#say = say;
    // Under nohup there is no terminal to lose, and SIGHUP must stay ignored (faults L4).
    this.#signals = process.stderr.isTTY ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];
    for (const signal of this.#signals) process.on(signal, this.#onSignal);
  }

  get exitCode(): number {
    return this.#first === 'SIGINT' || this.#first === null ? ExitCode.interrupted : ExitCode.terminated;
  }

  watch(run: TrainingRun): void {
    this.#run = run;
    if (this.#first !== null) void run.kill();
  }

  consume(event: Parameters<Sink['consume']>[0]): void {
    if (event.kind === 'stage' && event.stage === 'train') this.#hasSteps = true;
  }

  async close(): Promise<void> {
    for (const signal of this.#signals) process.off(signal, this.#onSignal);
  }

  /** A run that we killed did not fail: it was stopped. */
  explain(error: unknown): unknown {
    if (this.#first === null || !(error instanceof SaeLensError) || error.code !== 'INTERRUPTED') return error;
    const code = this.#first === 'SIGINT' ? 'INTERRUPTED' : 'TERMINATED';
    return new SaeLensError(code, `The run was ended by ${this.#first}`, { hint: error.hint, details: error.details });
  }

  #leave(): void {
    if (this.#run !== null) return;
    this.#giveUp(new SaeLensError('INTERRUPTED', 'The run was ended before it began'));
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const again = this.#first !== null;
    // A terminal that goes may say so twice: to its foreground group, and again when its session ends.
    if (again && signal === 'SIGHUP') return;
    this.#first ??= signal;
    if (again) setTimeout(() => process.exit(this.exitCode), SECOND_SIGNAL_MS).unref();
    // Not started yet: nothing to save, and `watch` or the end of the process takes care of the worker.
    if (this.#run === null) {
      if (again) process.exit(this.exitCode);
      this.#say('stopping (Ctrl-C again to stop now)');
      setTimeout(() => this.#leave(), START_STOP_MS).unref();
    } else if (again || !this.#hasSteps) {
      void this.#run.kill();
    } else {
      this.#say('finishing the step, then saving a checkpoint (Ctrl-C again to stop now)');
      void this.#run.stop().catch(() => {});
      const run = this.#run;
      if (signal !== 'SIGINT') setTimeout(() => void run.kill(), TERMINATION_MS).unref();
    }
  };
}
