import type { RunnerOptions } from '../config/index.ts';
import { createLogger } from '../log.ts';
import { bytes, compact, counted, duration, grouped } from '../sinks/format.ts';
import { JsonSink } from '../sinks/json.ts';
import { LiveLine } from '../sinks/live-line.ts';
import { repairCache } from './cache.ts';
import { CacheActivationsRunner } from './cache-activations.ts';
import type { CacheEvent } from './cache-events.ts';
import { shellWord } from './shell-word.ts';
import { StopOnSignal, type StopWords } from './stop-on-signal.ts';

const JSON_CLOSE_MS = 5_000;
const STOP_WORDS: StopWords = {
  what: 'Caching',
  stopping: 'finishing the shard (Ctrl-C again to stop now: finished shards stay)',
  hint: 'run the same command again: it goes on after the last finished shard',
};

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
  const line = new LiveLine({ quiet });
  const log = createLogger({ level: quiet ? 'warn' : 'info', print: (text) => line.warn(text) });
  const speed = new CacheSpeed();
  const sink = json ? new JsonSink() : null;
  const runner = new CacheActivationsRunner(config, {
    log,
    onEvent: (event) => {
      if (event.kind !== 'stage') sink?.consume(event);
      if (event.kind === 'started') log.info(startedText(event));
      line.draw([speed.text(event)]);
    },
    onUpload: ({ path, sentBytes, totalBytes }) =>
      line.draw([`sending ${path}  ${bytes(sentBytes)} of ${bytes(totalBytes)}`]),
  });
  const signals = new StopOnSignal(STOP_WORDS, (text) => log.warn(text));
  signals.watch(runner);
  try {
    const result = await runner.run();
    line.end();
    sink?.consume({
      kind: 'finished',
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
      log.info(`${grouped(nTokens)} tokens in ${counted(result.shardsDone, 'file')}, ${bytes(size)}: ${path}`);
      if (pushed !== null) log.info(`on the hub: ${pushed.url}`);
      log.info(`next: sae-lens-ts train --use_cached_activations --cached_activations_path ${shellWord(path)} …`);
    }
  } catch (error) {
    line.end();
    throw signals.explain(error);
  } finally {
    signals.close();
    await sink?.close(JSON_CLOSE_MS);
  }
}

/** Repairs with a line that says how far it is. */
export async function repairInTerminal(path: string): Promise<string[]> {
  const line = new LiveLine();
  const speed = new CacheSpeed();
  try {
    return await repairCache(path, (event) => line.draw([speed.text(event)]));
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
    `${bytes(total_bytes)} in ${counted(n_shards, 'file')}${rest}`
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
    if (stage === 'verify') return `${message}  ${bytes(done)} of ${bytes(total)}`;
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
