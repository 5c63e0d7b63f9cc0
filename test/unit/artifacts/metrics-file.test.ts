import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cutRows, setRowsAside } from '../../../src/artifacts/metrics-file.ts';

let folder: string;
let metrics: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'metrics-file-'));
  metrics = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const row = (step: number, name = 'é'): string => `{"step":${step},"${name}":null}\n`;
const text = (path: string): string => readFileSync(path, 'utf8');

it('is cut before the first row of a step, wherever that is; what is cut off is kept beside it', async () => {
  const lines = [row(0), row(1), row(1, 'evaluation'), row(2), row(10), row(11).slice(0, 8)];
  for (const step of [0, 1, 2, 3, 10, 11]) {
    writeFileSync(metrics, lines.join(''));
    const n = lines.findIndex((line) => Number(/\d+/.exec(line)?.[0]) >= step || !line.endsWith('\n'));
    const aside = (await cutRows(metrics, step)) as string;
    expect([text(metrics), text(aside)]).toEqual([lines.slice(0, n).join(''), lines.slice(n).join('')]);
    rmSync(aside);
  }
});

it('is left as it is when nothing is behind the step, or when it is not there', async () => {
  expect(await cutRows(metrics, 0)).toBeNull();
  writeFileSync(metrics, row(0) + row(1));
  expect(await cutRows(metrics, 2)).toBeNull();
  expect([readdirSync(folder), text(metrics)]).toEqual([['metrics.jsonl'], row(0) + row(1)]);
});

it('of an earlier run is set aside as a whole', async () => {
  expect(await setRowsAside(metrics)).toBeNull();
  writeFileSync(metrics, row(0));
  expect(text((await setRowsAside(metrics)) as string)).toBe(row(0));
  expect(await setRowsAside(metrics)).toBeNull();
});
