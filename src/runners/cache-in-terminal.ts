import type { RunnerOptions } from '../config/index.ts';
import { bytes, counted, grouped } from '../format.ts';
import { PROGRAM } from '../program-name.ts';
import { LiveLine } from '../sinks/live-line.ts';
import { repairCache } from './cache.ts';
import { CacheActivationsRunner } from './cache-activations.ts';
import type { CacheEvent } from './cache-events.ts';
import { CacheSpeed } from './cache-speed.ts';
import { type InTerminalOptions, inTerminal } from './in-terminal.ts';
import { shellWord } from './shell-word.ts';
import type { StopWords } from './stop-on-signal.ts';

const STOP_WORDS: StopWords = {
  what: 'Caching',
  stopping: 'finishing the shard (Ctrl-C again to stop now: finished shards stay)',
  hint: 'run the same command again: it goes on after the last finished shard',
};

/**
 * Caches with a terminal in front: speed and time left, Ctrl-C once to finish the shard, twice to end at once.
 *
 * @throws SaeLensError what the run failed with; INTERRUPTED or TERMINATED when it was ended at once
 */
export function cacheInTerminal(config: RunnerOptions['cache-activations'], options: InTerminalOptions): Promise<void> {
  return inTerminal(STOP_WORDS, options, async ({ line, log, sink, signals }) => {
    const speed = new CacheSpeed();
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
    signals.watch(runner);
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
      return;
    }
    const { nTokens, bytes: size, path, pushed } = result;
    log.info(`${grouped(nTokens)} tokens in ${counted(result.shardsDone, 'file')}, ${bytes(size)}: ${path}`);
    if (pushed !== null) log.info(`on the hub: ${pushed.url}`);
    log.info(`next: ${PROGRAM} train --use_cached_activations --cached_activations_path ${shellWord(path)} …`);
  });
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
