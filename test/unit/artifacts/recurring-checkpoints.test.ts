import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeManifest } from '../../../src/artifacts/manifest.ts';
import { pruneRecurring } from '../../../src/artifacts/recurring-checkpoints.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'recurring-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function checkpoint(name: string, kind: 'checkpoint' | 'recurring', ...files: string[]): Promise<void> {
  mkdirSync(join(folder, name));
  for (const file of ['cfg.json', ...files]) writeFileSync(join(folder, name, file), '{}');
  await writeManifest(join(folder, name), { kind, n_training_samples: Number(name) });
  await sleep(3);
}

it('keeps the newest by when they were written, not by their number: one of an older run may have more samples', async () => {
  for (const name of ['900', '100', '200', '300']) await checkpoint(name, 'recurring');
  expect(await pruneRecurring(folder, 2)).toEqual([join(folder, '900'), join(folder, '100')]);
  expect(readdirSync(folder).sort()).toEqual(['200', '300']);
});

it('leaves every other checkpoint, what is not whole, and what somebody put something into', async () => {
  await checkpoint('100', 'checkpoint');
  await checkpoint('200', 'recurring', 'notes.txt');
  await checkpoint('300', 'recurring');
  mkdirSync(join(folder, '350'));
  writeFileSync(join(folder, '350', 'cfg.json'), '{}');
  for (const name of ['400', '500']) await checkpoint(name, 'recurring');
  mkdirSync(join(folder, 'final_600'));
  expect(await pruneRecurring(folder, 2)).toEqual([join(folder, '300')]);
  expect(readdirSync(folder).sort()).toEqual(['100', '200', '350', '400', '500', 'final_600']);
});

it('removes nothing while there are no more than are kept', async () => {
  for (const name of ['100', '200']) await checkpoint(name, 'recurring');
  expect(await pruneRecurring(folder, 2)).toEqual([]);
});
