import { isatty } from 'node:tty';
import { ExitCode, SaeLensError } from '../errors.ts';

/** After SIGTERM a container has ten seconds; putting down what is done gets most of them (faults L3). */
const TERMINATION_MS = 8_000;
/** Work that is still starting has nothing to save: it may let go of what it holds, and no disk may make it wait. */
const START_STOP_MS = 3_000;
/** Who asks twice is gone within a second, whatever a disk or a library is doing (faults L2). */
const SECOND_SIGNAL_MS = 900;

/**
 * Listens for the signals that end work; gives back what ends the listening. Under nohup no terminal is left to lose:
 * SIGHUP is ignored then, by us, because Node undoes what nohup has set (faults L4).
 */
export function onStopSignal(listener: (signal: NodeJS.Signals) => void): () => void {
  const hasTerminal = [0, 1, 2].some(isatty);
  const listeners: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ['SIGINT', listener],
    ['SIGTERM', listener],
    ['SIGHUP', hasTerminal ? listener : () => {}],
  ];
  for (const [signal, heard] of listeners) process.on(signal, heard);
  return () => {
    for (const [signal, heard] of listeners) process.off(signal, heard);
  };
}

/** Work that can be told to end. */
interface Stoppable {
  /** In order: what is done is kept. */
  stop(): Promise<unknown>;
  /** At once. */
  kill(): Promise<unknown>;
}

/** What is said of the work. */
export interface StopWords {
  /** As in "Caching was ended by SIGTERM". */
  readonly what: string;
  /** After the first signal. */
  readonly stopping: string;
  /** How to go on later; without it, what the work itself says. */
  readonly hint?: string;
}

/** Signals of a terminal: the first one ends the work in order, the second or a deadline at once (faults L1 to L4). */
export class StopOnSignal {
  readonly #words: StopWords;
  readonly #say: (line: string) => void;
  /** Ends the listening. */
  readonly close: () => void;
  #work: Stoppable | null = null;
  #hasResults: () => boolean = () => true;
  #first: NodeJS.Signals | null = null;
  #giveUp: (error: SaeLensError) => void = () => {};
  /** Rejects when work that was told to stop does not come out of its start. */
  readonly beforeStart = new Promise<never>((_, fail) => {
    this.#giveUp = fail;
  });

  constructor(words: StopWords, say: (line: string) => void) {
    this.#words = words;
    this.#say = say;
    this.close = onStopSignal(this.#onSignal);
  }

  /** Of work that was stopped. */
  get exitCode(): number {
    return this.#first === 'SIGINT' || this.#first === null ? ExitCode.interrupted : ExitCode.terminated;
  }

  /** Whether somebody asked for the end. */
  get heard(): boolean {
    return this.#first !== null;
  }

  /** From now on this is what a signal ends; one that came before, or while there are no results, ends it at once. */
  watch(work: Stoppable, hasResults: () => boolean = () => true): void {
    this.#work = work;
    this.#hasResults = hasResults;
    if (this.#first !== null) void work.kill();
  }

  /** Work that we ended did not fail. */
  explain(error: unknown): unknown {
    if (this.#first === null || !(error instanceof SaeLensError) || error.code !== 'INTERRUPTED') return error;
    const code = this.#first === 'SIGINT' ? 'INTERRUPTED' : 'TERMINATED';
    const { what, hint } = this.#words;
    return new SaeLensError(code, `${what} was ended by ${this.#first}`, {
      hint: hint ?? error.hint,
      details: error.details,
      cause: error,
    });
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const again = this.#first !== null;
    // A terminal that goes may say so twice: to its foreground group, and again when its session ends.
    if (again && signal === 'SIGHUP') return;
    this.#first ??= signal;
    const work = this.#work;
    if (again) {
      setTimeout(() => process.exit(this.exitCode), work === null ? 0 : SECOND_SIGNAL_MS).unref();
      void work?.kill();
    } else if (work === null) {
      // `watch` or the end of the process takes care of what is starting.
      this.#say('stopping (Ctrl-C again to stop now)');
      const early = new SaeLensError('INTERRUPTED', `${this.#words.what} was ended before it began`);
      setTimeout(() => this.#work === null && this.#giveUp(early), START_STOP_MS).unref();
    } else if (!this.#hasResults()) {
      void work.kill();
    } else {
      this.#say(this.#words.stopping);
      void work.stop().catch(() => {});
      if (signal !== 'SIGINT') setTimeout(() => void work.kill(), TERMINATION_MS).unref();
    }
  };
}
