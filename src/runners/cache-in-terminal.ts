import type { RunnerOptions } from '../config/index.ts';
import { ExitCode, SaeLensError } from '../errors.ts';
import { createLogger, redact } from '../log.ts';
import { bytes, compact, duration, grouped } from '../sinks/format.ts';
import { ProgressLine } from '../sinks/progress-line.ts';
import { repairCache } from './cache.ts';
import { CacheActivationsRunner } from './cache-activations.ts';
import type { CacheEvent } from './cache-events.ts';

/** After SIGTERM a container has ten seconds; what is not finished then is computed again. */
const TERMINATION_MS = 8_000;
/** Who asks twice is gone within a second (faults L2). */
const SECOND_SIGNAL_MS = 900;

/** How a command of caches was called. */
export interface CacheTerminalOptions {
  /** Events as lines on stdout. */
  json: boolean;
  /** Warnings and errors only. */
  quiet: boolean;
}

/**
 * Caches with a terminal in front: speed and time left, Ctrl-C once to finish the shard, twice to end at once.
 *
 * @throws SaeLensError what the run failed with; INTERRUPTED or TERMINATED when it was ended at once
 */
export async function cacheInTerminal(
  config: RunnerOptions['cache-activations'],
  { json, quiet }: CacheTerminalOptions,
): Promise<void> {
  const line = new ProgressLine({ quiet });
  const log = createLogger({ level: quiet ? 'warn' : 'info', print: (text) => line.print(text) });
  const speed = new CacheSpeed();
  const emit = (event: string, fields: object): void => {
    const line = { event, time: new Date().toISOString(), ...fields };
    if (json) process.stdout.write(`${redact(JSON.stringify(line))}\n`);
  };
  const runner = new CacheActivationsRunner(config, {
    log,
    onEvent: (event) => {
      const { kind, ...fields } = event;
      if (kind !== 'stage') emit(kind, fields);
      if (kind === 'started') log.info(startedText(event));
      line.show(speed.text(event));
    },
    onUpload: ({ path, sentBytes, totalBytes }) =>
      line.show(`sending ${path}  ${bytes(sentBytes)} of ${bytes(totalBytes)}`),
  });
  const signals = new CacheSignals(runner, (text) => log.warn(text));
  try {
    const result = await runner.run();
    line.end();
    emit('finished', {
      ended: result.ended,
      path: result.path,
      n_sequences: result.nSequences,
      n_tokens: result.nTokens,
      shards_done: result.shardsDone,
      bytes: result.bytes,
      pushed: result.pushed,
    });
    if (result.ended === 'stopped') {
      process.exitCode = signals.exitCode;
      log.warn(`stopped after ${result.shardsDone} shards; run the same command again to go on`);
    } else {
      const { nTokens, bytes: size, path, pushed } = result;
      log.info(`${grouped(nTokens)} tokens in ${result.shardsDone} files, ${bytes(size)}: ${path}`);
      if (pushed !== null) log.info(`on the hub: ${pushed.url}`);
    }
  } catch (error) {
    line.end();
    throw signals.explain(error);
  } finally {
    signals.close();
  }
}

/** Repairs with a line that says how far it is. */
export async function repairInTerminal(path: string): Promise<string[]> {
  const line = new ProgressLine();
  const speed = new CacheSpeed();
  try {
    return await repairCache(path, (event) => line.show(speed.text(event)));
  } finally {
    line.end();
  }
}

type Started = Extract<CacheEvent, { kind: 'started' }>;

function startedText({ n_tokens, total_bytes, n_shards, shards_done, d_in, context }: Started): string {
  const hooks = Object.entries(d_in).map(([hook, width]) => `${hook} (${width})`);
  const rest = shards_done === 0 ? '' : `; ${shards_done} are there already`;
  return (
    `${hooks.join(', ')}: ${grouped(n_tokens)} tokens in sequences of ${context}, ` +
    `${bytes(total_bytes)} in ${n_shards} files${rest}`
  );
}

/** Speed and time left, from the tokens computed since this process began to. */
export class CacheSpeed {
  #first: { at: number; done: number } | null = null;
  #totalBytes = 0;

  /** What there is to say after this event; `now` in milliseconds. */
  text(event: CacheEvent, now = performance.now()): string {
    if (event.kind === 'started') this.#totalBytes = event.total_bytes;
    if (event.kind !== 'stage') return event.kind === 'shard' ? `finished ${event.file}` : '';
    const { stage, message, done, total } = event;
    if (done === null || total === null) return message;
    const share = `${grouped(done)} of ${grouped(total)}`;
    if (stage !== 'cache') return `${message}  ${share}`;
    this.#first ??= { at: now, done };
    const tokensPerSecond = ((done - this.#first.done) / (now - this.#first.at)) * 1000;
    const pace = tokensPerSecond > 0 ? `${compact(tokensPerSecond)} tok/s` : '';
    const left = tokensPerSecond > 0 ? `ETA ${duration((total - done) / tokensPerSecond)}` : '';
    const size = `${bytes((done / total) * this.#totalBytes)} of ${bytes(this.#totalBytes)}`;
    return [message, `${share} tokens`, pace, left, size].filter((part) => part !== '').join('  ');
  }
}

/** The first signal finishes the shard; the second, or a deadline, ends everything at once. */
class CacheSignals {
  readonly #signals: NodeJS.Signals[];
  readonly #runner: CacheActivationsRunner;
  readonly #say: (text: string) => void;
  #first: NodeJS.Signals | null = null;

  constructor(runner: CacheActivationsRunner, say: (text: string) => void) {
    this.#runner = runner;
    this.#say = say;
    // Under nohup SIGHUP must stay ignored (faults L4).
    this.#signals = process.stderr.isTTY ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];
    for (const signal of this.#signals) process.on(signal, this.#onSignal);
  }

  get exitCode(): number {
    return this.#first === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated;
  }

  close(): void {
    for (const signal of this.#signals) process.off(signal, this.#onSignal);
  }

  /** Work that we ended did not fail. */
  explain(error: unknown): unknown {
    if (this.#first === null || !(error instanceof SaeLensError) || error.code !== 'INTERRUPTED') return error;
    const code = this.#first === 'SIGINT' ? 'INTERRUPTED' : 'TERMINATED';
    return new SaeLensError(code, `Caching was ended by ${this.#first}`, {
      hint: 'run the same command again: it goes on after the last finished shard',
      cause: error,
    });
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const again = this.#first !== null;
    this.#first ??= signal;
    if (again) {
      setTimeout(() => process.exit(this.exitCode), SECOND_SIGNAL_MS).unref();
      void this.#runner.kill();
      return;
    }
    this.#say('finishing the shard (Ctrl-C again to stop now: finished shards stay)');
    void this.#runner.stop().catch(() => {});
    if (signal !== 'SIGINT') setTimeout(() => void this.#runner.kill(), TERMINATION_MS).unref();
  };
}
