import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { ActivationTap } from '../../../src/stream/activation-tap.ts';
import { workersForTests } from '../../workers.ts';

const { start } = workersForTests();

describe('ActivationTap', () => {
  it('keeps no batch for a reader that left', async () => {
    const credits: number[] = [];
    const tap = new ActivationTap((count) => credits.push(count));
    const frame = () => ({
      stream: { columns: [{ name: 'activation', type: 'float32' as const, shape: [2] }] },
      header: { step: 0, rows: 1, dropped: 0 },
      columns: [new Float32Array(2)],
    });
    const kept = [new WeakRef(frame()), new WeakRef(frame())] as const;
    tap.push(kept[0].deref() as ReturnType<typeof frame>);
    tap.push(kept[1].deref() as ReturnType<typeof frame>);
    for await (const _ of tap) break;
    expect(credits).toEqual([2]);
    const late = new WeakRef(frame());
    tap.push(late.deref() as ReturnType<typeof frame>);
    setFlagsFromString('--expose-gc');
    await new Promise((resolve) => setTimeout(resolve, 10));
    runInNewContext('gc')();
    expect([...kept, late].map((ref) => ref.deref())).toEqual([undefined, undefined, undefined]);
  });

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
    await expect(tap[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'USAGE',
      message: 'The activations of a run have one reader, and had it already',
    });
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
