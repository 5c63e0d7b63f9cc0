import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { type MetricsBatch, MetricsLog } from '../../../src/stream/metrics-log.ts';

const batch = (steps: number[], dropped = 0): MetricsBatch => ({
  stream: { name: 'train', columns: [{ name: 'step', type: 'float64', shape: [] }] },
  header: { rows: steps.length, dropped },
  columns: [Float64Array.from(steps)],
});

async function collect(log: MetricsLog): Promise<(number | undefined)[]> {
  const steps: (number | undefined)[] = [];
  for await (const row of log) steps.push(row.values.step);
  return steps;
}

describe('MetricsLog', () => {
  it('gives each reader every row from the first one, whenever it starts', async () => {
    const log = new MetricsLog();
    const early = collect(log);
    expect(log.push(batch([0, Number.NaN]))).toEqual(
      [0, Number.NaN].map((step) => ({ stream: 'train', values: { step } })),
    );
    const middle = collect(log);
    log.push(batch([2], 3));
    log.end();
    for (const steps of [await early, await middle, await collect(log)]) expect(steps).toEqual([0, Number.NaN, 2]);
    expect(log.dropped).toBe(3);
  });

  it('goes on for others when a reader breaks out', async () => {
    const log = new MetricsLog();
    const other = collect(log);
    log.push(batch([1, 2]));
    for await (const row of log) {
      expect(row).toEqual({ stream: 'train', values: { step: 1 } });
      break;
    }
    log.push(batch([3]));
    log.end();
    expect(await other).toEqual([1, 2, 3]);
  });

  it('keeps rows nobody reads at the cost of their numbers, though they come one by one', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const used = (): number => {
      gc();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const names = Array.from({ length: 20 }, (_, i) => ({ name: `m${i}`, type: 'float64' as const, shape: [] }));
    const [train, evaluation] = [
      { name: 'train', columns: names },
      { name: 'eval', columns: names },
    ];
    const log = new MetricsLog();
    const before = used();
    for (let n = 0; n < 20_000; n++) {
      const body = new Float64Array(names.length).fill(n);
      const columns = names.map((_, i) => body.subarray(i, i + 1));
      log.push({ stream: n % 100 === 0 ? evaluation : train, header: { rows: 1, dropped: 0 }, columns });
    }
    const numbers = 20_000 * names.length * 8;
    expect(used() - before).toBeLessThan(2 * numbers);
    log.end();
    let n = 0;
    for await (const { stream, values } of log) {
      expect([stream, values.m0, values.m19]).toEqual([n % 100 === 0 ? 'eval' : 'train', n, n]);
      n++;
    }
    expect(n).toBe(20_000);
  });

  it('keeps none when it is said that nobody will read, and gives them to the caller all the same', async () => {
    const log = new MetricsLog();
    log.push(batch([1]));
    log.forget();
    expect(log.push(batch([2, 3])).length).toBe(2);
    log.end();
    const seen: unknown[] = [];
    for await (const row of log) seen.push(row);
    expect(seen).toEqual([]);
  });

  it('gives readers the error of the run after its last row', async () => {
    const log = new MetricsLog();
    log.push(batch([1]));
    log.end(new Error('lost'));
    log.end();
    const seen: unknown[] = [];
    await expect(
      (async () => {
        for await (const row of log) seen.push(row);
      })(),
    ).rejects.toThrow('lost');
    expect(seen).toHaveLength(1);
  });
});
