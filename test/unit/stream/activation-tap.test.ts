import { describe, expect, it } from 'vitest';
import { ActivationTap } from '../../../src/stream/activation-tap.ts';
import { workersForTests } from '../../workers.ts';

const { start } = workersForTests();

describe('ActivationTap', () => {
  it('reads what a slow reader has room for, with room for no more than it asked', async () => {
    const worker = await start();
    const params = { rows: 4, d: 2, steps: 300, dtype: 'float16', sleep: 0.002 };
    const job = worker.request('taps', params, { onActivations: (frame) => tap.push(frame) });
    const tap = new ActivationTap((count) => job.credit(count));
    void job.result.then(() => tap.end());
    let batches = 0;
    let dropped = 0;
    for await (const batch of tap) {
      batches++;
      dropped += batch.dropped;
      expect(batch.activation).toEqual(Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]));
      expect([batch.rows, batch.dIn, batch.tokenId[3]]).toEqual([4, 2, 3]);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(batches).toBeGreaterThan(3);
    expect(dropped).toBeGreaterThan(batches);
    await expect(tap[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'USAGE' });
    await worker.shutdown();
  });

  it('ends with its reader, and the run goes on', async () => {
    const worker = await start();
    const params = { rows: 4, d: 2, steps: 100, dtype: 'float32', sleep: 0.002 };
    const job = worker.request('taps', params, { onActivations: (frame) => tap.push(frame) });
    const tap = new ActivationTap((count) => job.credit(count));
    for await (const batch of tap) {
      expect(batch.step).not.toBeNull();
      break;
    }
    expect((await job.result).value).toEqual({ asked: 100 });
    await worker.shutdown();
  });
});
