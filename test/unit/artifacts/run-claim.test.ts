import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { claimRun, freeRunName } from '../../../src/artifacts/run-claim.ts';

let folder = '';
beforeEach(() => {
  const made = mkdtempSync(join(tmpdir(), 'claim-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  folder = made;
});

const places = (more: object = {}) => ({ runsFolder: join(folder, 'runs'), name: 'a', ...more });

describe('a name that nobody chose', () => {
  it('moves on to the next free one, for as many runs as start at once', async () => {
    const claims = await Promise.all(Array.from({ length: 6 }, () => claimRun(places(), true)));
    expect(claims.map(({ name }) => name).sort()).toEqual(['a', 'a-2', 'a-3', 'a-4', 'a-5', 'a-6']);
    expect(freeRunName(places())).toBe('a-7');
    for (const { release } of claims) await release();
    expect(readdirSync(join(folder, 'runs'))).toEqual([]);
  });

  it('moves on where another folder of runs has its checkpoints', async () => {
    const checkpointPath = join(folder, 'checkpoints');
    const first = await claimRun(places({ checkpointPath }), true);
    const second = await claimRun(places({ checkpointPath, runsFolder: join(folder, 'others') }), true);
    expect([first.name, second.name]).toEqual(['a', 'a-2']);
    expect(readdirSync(join(folder, 'others'))).toEqual(['a-2']);
    mkdirSync(join(checkpointPath, 'a-3'));
    expect(freeRunName(places({ checkpointPath, runsFolder: join(folder, 'more') }))).toBe('a');
    expect((await claimRun(places({ checkpointPath }), true)).name).toBe('a-4');
  });

  it('does not hide that another run saves where this one would', async () => {
    const outputPath = join(folder, 'sae');
    await claimRun(places({ outputPath }), true);
    await expect(claimRun(places({ outputPath }), true)).rejects.toThrow(`Cannot train in "${outputPath}"`);
    expect(readdirSync(join(folder, 'runs'))).toEqual(['a']);
  });
});

it('a name that somebody chose is refused while its run is going on, and taken again afterwards', async () => {
  const first = await claimRun(places(), false);
  await expect(claimRun(places(), false)).rejects.toMatchObject({ code: 'STORAGE' });
  await first.release();
  expect((await claimRun(places(), false)).name).toBe('a');
});

describe('the folder for when a disk is full', () => {
  it('is of one run: another of this name, in another folder of runs, cannot write over what was saved there', async () => {
    const rescueDir = join(folder, 'rescue');
    const first = await claimRun(places({ rescueDir }), false);
    const elsewhere = places({ rescueDir, runsFolder: join(folder, 'others') });
    await expect(claimRun(elsewhere, false)).rejects.toThrow(`Cannot train in "${join(rescueDir, 'a')}"`);
    expect((await claimRun(elsewhere, true)).name).toBe('a-2');
    await first.release();
    expect(readdirSync(rescueDir), 'nothing was saved there').not.toContain('a');
    expect((await claimRun(places({ rescueDir }), false)).name).toBe('a');
  });

  it('is refused where the run writes anyway: its disk is the full one, and rm would not know what lies there', async () => {
    const checkpointPath = join(folder, 'checkpoints');
    for (const more of [
      { rescueDir: join(folder, 'runs') },
      { rescueDir: join(folder, 'runs', 'a') },
      { rescueDir: checkpointPath, checkpointPath },
    ]) {
      await expect(claimRun(places(more), false)).rejects.toMatchObject({
        code: 'STORAGE',
        hint: expect.stringContaining('--rescue_dir'),
      });
    }
  });

  it('is seen to hold what is not ours before hours of training, and is not replaced as the output', async () => {
    const rescueDir = join(folder, 'rescue');
    const outputPath = join(rescueDir, 'a');
    await expect(claimRun(places({ rescueDir, outputPath }), false)).rejects.toThrow('the run itself writes to');
    mkdirSync(join(rescueDir, 'a', 'output', 'thesis'), { recursive: true });
    writeFileSync(join(rescueDir, 'a', 'output', 'thesis', 'chapter.txt'), 'years of work');
    await expect(claimRun(places({ rescueDir }), false)).rejects.toMatchObject({
      code: 'STORAGE',
      hint: expect.stringContaining('--rescue_dir'),
    });
  });
});

it.skipIf(process.platform !== 'linux')('a folder that cannot be made is an error at once, also for root', async () => {
  for (const more of [{ runsFolder: '/proc/x/y' }, { outputPath: '/proc/x/y' }, { checkpointPath: '/proc/x/y' }]) {
    for (const generated of [true, false]) {
      await expect(claimRun(places(more), generated)).rejects.toMatchObject({
        code: 'STORAGE',
        message: expect.stringContaining('Cannot write to "/proc/x'),
      });
    }
  }
});

describe('the lock of a run', () => {
  it.each([
    ['a link that leads nowhere', (path: string) => symlinkSync('nowhere', path)],
    ['a folder', (path: string) => mkdirSync(path)],
    ['a pipe', (path: string) => execFileSync('mkfifo', [path])],
  ])('is refused, and nobody waits, where %s lies in its place', async (_, put) => {
    mkdirSync(join(folder, 'runs', 'a'), { recursive: true });
    put(join(folder, 'runs', 'a', 'lock.json'));
    const refusal = { code: 'STORAGE', message: expect.stringContaining('is no file') };
    await expect(claimRun(places(), false)).rejects.toMatchObject(refusal);
  });
});
