import { expect, it } from 'vitest';
import { CacheSpeed } from '../../../src/runners/cache-speed.ts';

it('speed and time left are those of the work of this process', () => {
  const speed = new CacheSpeed();
  const started = { d_in: { h: 4 }, context: 8, n_sequences: 1, n_tokens: 1, n_shards: 2, shards_done: 1 };
  speed.text({ kind: 'started', ...started, total_bytes: 4e9 });
  const at = (done: number, ms: number) =>
    speed.text({ kind: 'stage', stage: 'cache', message: 'shard 2 of 2', done, total: 4_000_000 }, ms);
  at(1_000_000, 5_000);
  expect(at(2_000_000, 15_000)).toBe(
    'shard 2 of 2  2 000 000 of 4 000 000 tokens  100.0k tok/s  ETA 20s  2.0 GB of 4.0 GB',
  );
});
