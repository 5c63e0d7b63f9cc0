import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeFeaturesFolder } from '../../../src/artifacts/features-folder.ts';
import { writeManifest } from '../../../src/artifacts/manifest.ts';
import { prunable, prune } from '../../../src/artifacts/prune-checkpoints.ts';
import { removableRun, removeRun } from '../../../src/artifacts/remove-run.ts';
import { lockPlace } from '../../../src/artifacts/run-lock.ts';
import { runRecord } from '../../fixtures/run-record.ts';
import { writeSaeFolder, writeTrainingState } from '../../fixtures/sae-folder.ts';

let runs: string;
let run: string;
beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), 'remove-'));
  run = newRun('run');
});
afterEach(() => rmSync(runs, { recursive: true, force: true }));

function newRun(name: string, config = 'seed: 1\n', cwd = runs): string {
  const folder = join(runs, name);
  mkdirSync(folder);
  const session = { began: 'now', from: null, ended: 'done' as const };
  writeFileSync(join(folder, 'run.json'), JSON.stringify(runRecord({ name, cwd, sessions: [session] })));
  writeFileSync(join(folder, 'config.yaml'), config);
  for (const file of ['metrics.jsonl', 'log.jsonl', 'histograms-until-2026-11-30T06-41-55-123Z.jsonl']) {
    writeFileSync(join(folder, file), '{}\n');
  }
  return folder;
}

async function checkpoint(samples: number, place = join(run, 'checkpoints')): Promise<string> {
  const folder = join(place, String(samples));
  writeSaeFolder(folder);
  writeTrainingState(folder, samples);
  await writeManifest(folder, { kind: 'checkpoint', n_training_samples: samples });
  await sleep(3);
  return folder;
}

const features = (folder: string): Promise<void> =>
  writeFeaturesFolder(folder, async (staging) => {
    for (const file of ['index.html', 'data/about.js']) writeFileSync(join(staging, file), 'x');
  });

const names = (paths: readonly { path: string }[]): string[] => paths.map(({ path }) => basename(path));

describe('rm', () => {
  it('removes a run with all it holds, and nothing beside it', async () => {
    await checkpoint(64);
    mkdirSync(join(run, 'wandb'));
    writeFileSync(join(run, 'wandb', 'anything'), 'x');
    await features(join(run, 'features'));
    // What a kill leaves of a collection.
    mkdirSync(join(run, 'features.partial', 'data'), { recursive: true });
    writeFileSync(join(run, 'features.lock.json'), '{}');
    const other = newRun('run-2');
    const found = await removableRun(run);
    expect(found.bytes).toBeGreaterThan(500);
    await removeRun(found);
    expect(readdirSync(runs)).toEqual(['run-2']);
    expect(existsSync(join(other, 'run.json'))).toBe(true);
  });

  it.each([
    ['a file', 'notes.md', 'notes.md'],
    ['a file in the checkpoints', 'checkpoints/64/notes.md', 'checkpoints/64/notes.md'],
    ['a folder in the checkpoints', 'checkpoints/best/cfg.json', 'checkpoints/best'],
    ['a folder of a person', 'figures/loss.svg', 'figures'],
    ['a file beside the SAE', 'output/notes.md', 'output/notes.md'],
    ['a folder called features that is not ours', 'features/mine.txt', 'features'],
  ])('refuses a run with %s that no run writes, and touches nothing', async (_, path, foreign) => {
    await checkpoint(64);
    mkdirSync(join(run, path, '..'), { recursive: true });
    writeFileSync(join(run, path), 'mine');
    const before = readdirSync(run, { recursive: true });
    await expect(removableRun(run)).rejects.toMatchObject({
      code: 'STORAGE',
      details: { foreign: [foreign] },
    });
    expect(readdirSync(run, { recursive: true })).toEqual(before);
  });

  it('removes the features of several SAEs, and refuses what a person laid beside the pages', async () => {
    for (const name of ['a', 'b']) await features(join(run, 'features', name));
    await expect(removableRun(run)).resolves.toMatchObject({ folder: run });
    writeFileSync(join(run, 'features', 'b', 'mine.html'), 'mine');
    await expect(removableRun(run)).rejects.toMatchObject({ details: { foreign: ['features/b/mine.html'] } });
  });

  it('refuses what only looks like a run: a run.json of another program, a link, a link inside', async () => {
    const theirs = join(runs, 'theirs');
    mkdirSync(theirs);
    writeFileSync(join(theirs, 'run.json'), '{"name": "nightly build"}');
    await expect(removableRun(theirs)).rejects.toMatchObject({ code: 'USAGE' });
    symlinkSync(run, join(runs, 'link'));
    await expect(removableRun(join(runs, 'link'))).rejects.toMatchObject({ code: 'USAGE' });
    const elsewhere = newRun('elsewhere');
    symlinkSync(elsewhere, join(run, 'checkpoints'));
    await expect(removableRun(run)).rejects.toMatchObject({ code: 'STORAGE' });
    expect(readdirSync(runs).sort()).toEqual(['elsewhere', 'link', 'run', 'theirs']);
  });

  it('refuses a run that is going on, also one that began to after it was looked at', async () => {
    const found = await removableRun(run);
    const lock = await lockPlace(run, join(run, 'lock.json'), 'train in');
    await expect(removableRun(run)).rejects.toMatchObject({ code: 'STORAGE', message: /is training it/ });
    await expect(removeRun(found)).rejects.toMatchObject({ code: 'STORAGE', message: /^Cannot remove / });
    await lock.release();
    expect(existsSync(join(run, 'run.json'))).toBe(true);
  });

  it('leaves what the run wrote elsewhere, and says so', async () => {
    run = newRun('placed', 'output_path: finished\ncheckpoint_path: saved\n');
    const output = join(runs, 'finished');
    writeSaeFolder(output);
    const saved = await checkpoint(64, join(runs, 'saved', 'placed'));
    const found = await removableRun(run);
    expect([...found.elsewhere].sort()).toEqual([output, join(runs, 'saved', 'placed')]);
    await removeRun(found);
    expect([existsSync(run), existsSync(output), existsSync(saved)]).toEqual([false, true, true]);
  });
});

describe('prune', () => {
  it('leaves the newest whole checkpoints, by when they were written', async () => {
    for (const samples of [6400, 64, 128, 192, 256]) await checkpoint(samples);
    const found = await prunable(run, 3);
    expect(names(found.removed)).toEqual(['64', '6400']);
    await prune(found);
    expect(readdirSync(join(run, 'checkpoints')).sort()).toEqual(['128', '192', '256']);
    expect((await prunable(run, 3)).removed).toEqual([]);
  });

  it('never leaves fewer than two, whatever was asked for', async () => {
    for (const samples of [64, 128, 192]) await checkpoint(samples);
    expect(names((await prunable(run, 0)).removed)).toEqual(['64']);
  });

  it('counts no damaged one as kept, and removes none without our manifest or with a file of somebody else', async () => {
    const paths = [];
    for (const samples of [64, 128, 192, 256, 320, 384]) paths.push(await checkpoint(samples));
    writeFileSync(join(paths[5] as string, 'sae_weights.safetensors'), 'damaged');
    writeFileSync(join(paths[1] as string, 'notes.md'), 'the best one');
    rmSync(join(paths[2] as string, 'manifest.json'));
    const found = await prunable(run, 2);
    expect(names(found.removed)).toEqual(['64']);
    expect(found.kept.map((path) => basename(path))).toEqual(['320', '256']);
    await prune(found);
    expect(readdirSync(join(run, 'checkpoints')).sort()).toEqual(['128', '192', '256', '320', '384']);
  });

  it('a run’s own checkpoints are meant, wherever the command is called: those of its folder of that time', async () => {
    run = newRun('moved', 'checkpoint_path: saved\n', join(runs, 'then'));
    for (const samples of [64, 128, 192]) await checkpoint(samples, join(runs, 'then', 'saved', 'moved'));
    const found = await prunable(run, 2);
    expect(found.removed.map(({ path }) => path)).toEqual([join(runs, 'then', 'saved', 'moved', '64')]);
  });

  it('refuses a run that is going on, also one that began to after it was looked at', async () => {
    for (const samples of [64, 128, 192]) await checkpoint(samples);
    const found = await prunable(run, 2);
    const lock = await lockPlace(run, join(run, 'lock.json'), 'train in');
    await expect(prunable(run, 2)).rejects.toMatchObject({ code: 'STORAGE' });
    await expect(prune(found)).rejects.toMatchObject({ code: 'STORAGE' });
    await lock.release();
    expect(readdirSync(join(run, 'checkpoints'))).toHaveLength(3);
  });
});
