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
    log.push(batch([0, Number.NaN]));
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
