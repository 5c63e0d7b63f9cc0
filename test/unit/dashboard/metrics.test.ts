import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { MetricsTail } from '../../../src/dashboard/metrics-tail.ts';
import { Series } from '../../../src/dashboard/series.ts';

const folder = mkdtempSync(join(tmpdir(), 'sae-lens-ts-metrics-'));
afterAll(() => rmSync(folder, { recursive: true }));

const LONG = 'x'.repeat(300);
const row = (step: number, loss: number): string =>
  `${JSON.stringify({ step, 'losses/overall_loss': loss, [LONG]: 1 })}\n`;
const rows = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => row(from + i, Math.sin(from + i))).join('');

function series(length: number, spikeAt = -1): Series {
  const made = new Series();
  for (let step = 0; step < length; step++) made.push(step, step === spikeAt ? 1e6 : Math.sin(step / 1000));
  return made;
}

test('a short line is kept as it is', () => {
  const { steps, values } = series(1000).points();
  expect(steps).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(values[500]).toBe(Math.sin(0.5));
});

test('a line of a million rows has few points, all of them rows that there are, and no spike is lost', () => {
  const million = series(1_000_000, 123_457);
  const { steps, values } = million.points(undefined, undefined, 1000);
  expect(steps.length).toBeLessThanOrEqual(2000);
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
  expect(steps[values.indexOf(1e6)]).toBe(123_457);
  for (const [i, step] of steps.entries()) if (step !== 123_457) expect(values[i]).toBe(Math.sin(step / 1000));
  expect(million.rows).toBe(1_000_000);
  const { steps: some } = million.points(400_000, 400_999);
  expect(some[0]).toBeGreaterThan(400_000 - 2 * million.rowsABucket);
  expect(some.at(-1)).toBeLessThan(401_000 + 2 * million.rowsABucket);
});

test('what was read once is not read again, and half a line waits for its end', async () => {
  const path = join(folder, 'growing.jsonl');
  writeFileSync(path, `${row(0, 1) + row(1, 2)}{"step":2,"losses/over`);
  const tail = new MetricsTail(path);
  expect(await tail.advance(100)).toBe(true);
  expect(tail.rows.rows).toBe(2);
  expect(await tail.advance(100)).toBe(false);
  appendFileSync(path, 'all_loss":3}\nno row at all\n{"step":3,"losses/overall_loss":null}\n');
  expect(await tail.advance(100)).toBe(true);
  expect(tail.rows.of().get('losses/overall_loss')?.points()).toEqual({ steps: [0, 1, 2], values: [1, 2, 3] });
  expect([tail.rows.notFinite, tail.rows.firstNotFinite]).toEqual([1, 3]);
  expect((await tail.linesFrom(0, 1 << 20)).lines).toHaveLength(4);
});

test('rows are taken in once, however many ask at the same time', async () => {
  const path = join(folder, 'asked.jsonl');
  writeFileSync(path, rows(0, 2_000));
  const tail = new MetricsTail(path);
  await Promise.all(Array.from({ length: 5 }, () => tail.advance(1_000)));
  expect([tail.rows.rows, tail.offset]).toEqual([2_000, tail.size]);
});

test('a file that was cut, as resuming does, is read from its beginning, and whoever follows it is told', async () => {
  const path = join(folder, 'cut.jsonl');
  writeFileSync(path, row(0, 1) + row(1, 2) + row(2, 3));
  const tail = new MetricsTail(path);
  await tail.advance(100);
  const { generation } = tail;
  truncateSync(path, row(0, 1).length);
  appendFileSync(path, row(1, 20));
  await tail.advance(100);
  expect(tail.generation).not.toBe(generation);
  expect(tail.rows.of().get('losses/overall_loss')?.points().values).toEqual([1, 20]);
});

test('rows of several SAEs are told apart', async () => {
  const path = join(folder, 'several.jsonl');
  writeFileSync(path, '{"step":1,"sae":"a","metrics/l0":1}\n{"step":1,"sae":"b","metrics/l0":2}\n');
  const tail = new MetricsTail(path);
  await tail.advance(100);
  expect([...tail.rows.bySae].map(([sae, own]) => [sae, own.get('metrics/l0')?.last])).toEqual([
    ['a', 1],
    ['b', 2],
  ]);
});

test('a long file is shown by some of its rows at once, then by all, and a stretch of it row by row', async () => {
  const path = join(folder, 'long.jsonl');
  const length = 60_000;
  writeFileSync(path, rows(0, length));
  const tail = new MetricsTail(path);
  const began = performance.now();
  await tail.advance(1);
  expect(performance.now() - began).toBeLessThan(2_000);
  expect(tail.shown.isComplete).toBe(false);
  expect(tail.shown.rows.step).toBe(length - 1);
  expect(tail.shown.rows.rows).toBeGreaterThan(500);
  while (!tail.shown.isComplete) await tail.advance(1_000);
  expect(tail.rows.rows).toBe(length);
  const kept = tail.rows.of().get('losses/overall_loss') as Series;
  expect(kept.rowsABucket).toBeGreaterThan(1);
  const stretch = await tail.between(30_000, 30_500);
  const { steps, values } = stretch?.of().get('losses/overall_loss')?.points(30_000, 30_500) ?? {
    steps: [],
    values: [],
  };
  expect(steps).toEqual(Array.from({ length: 501 }, (_, i) => 30_000 + i));
  expect(values[7]).toBe(Math.sin(30_007));
});

test('a line without end, of no row, does not keep what follows it from being read', async () => {
  const path = join(folder, 'endless.jsonl');
  writeFileSync(path, `${'y'.repeat(3 << 20)}\n${row(5, 6)}`);
  const tail = new MetricsTail(path);
  while (tail.offset < 3 << 20) await tail.advance(100);
  expect(tail.rows.of().get('losses/overall_loss')?.points()).toEqual({ steps: [5], values: [6] });
});
