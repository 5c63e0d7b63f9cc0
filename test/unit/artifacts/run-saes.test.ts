import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { writeManifest } from '../../../src/artifacts/manifest.ts';
import { isRunFolder, runFolderOf } from '../../../src/artifacts/run-folder.ts';
import { checkpointsOf, outputOf, saesOf } from '../../../src/artifacts/run-saes.ts';
import { readCheckpoints, readFacts, readRecord } from '../../../src/dashboard/run-files.ts';

let folder = '';
let run = '';
beforeEach(() => {
  const made = mkdtempSync(join(tmpdir(), 'run-saes-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  [folder, run] = [made, join(made, 'runs', 'a')];
  mkdirSync(run, { recursive: true });
});

/** Of a run that began some seconds from now and was started in `folder`. */
function began(seconds: number, config = ''): void {
  const created = new Date(Date.now() + 1000 * seconds).toISOString();
  writeFileSync(
    join(run, 'run.json'),
    JSON.stringify({ name: 'a', created, cwd: folder, sessions: [{ ended: null }] }),
  );
  writeFileSync(join(run, 'config.yaml'), config);
}

async function sae(...path: string[]): Promise<string> {
  const place = join(folder, ...path);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'cfg.json'), '{}');
  await writeManifest(place, { kind: 'checkpoint', n_training_samples: 1 });
  return place;
}

const meant = async (): Promise<string | undefined> => (await saesOf(run))[0]?.folder;

it('what an older run of its name left is not taken for the SAE of a run that is going on', async () => {
  const old = await sae('runs/a/output');
  await sae('runs/a/checkpoints/9000');
  began(-60);
  expect([await outputOf(run), await meant()]).toEqual([old, old]);
  began(60);
  expect(await outputOf(run)).toBe(null);
  await expect(meant()).rejects.toThrow('the run has neither a finished SAE nor a checkpoint');
  await new Promise((next) => setTimeout(next, 5));
  began(0);
  await new Promise((next) => setTimeout(next, 5));
  const now = await sae('runs/a/checkpoints/100');
  expect(await meant()).toBe(now);
});

it('what went to a relative rescue_dir, and checkpoints of a relative place, are found from any folder', async () => {
  began(-60, 'rescue_dir: saved\ncheckpoint_path: points\n');
  const [first, last] = [await sae('points/a/100'), await sae('saved/a/200')];
  expect(await checkpointsOf(run)).toEqual([first, last]);
  const facts = await readFacts(run, (await readRecord(run)) as NonNullable<Awaited<ReturnType<typeof readRecord>>>);
  expect((await readCheckpoints(run, facts)).map(({ path }) => path).sort()).toEqual([first, last]);
  expect(await meant()).toBe(last);
  const output = await sae('saved/a/output');
  expect([await outputOf(run), await meant()]).toEqual([output, output]);
});

it('a checkpoint is counted once where an older version let rescue_dir be checkpoint_path', async () => {
  began(-60, 'rescue_dir: points\ncheckpoint_path: points\n');
  const only = await sae('points/a/100');
  expect(await checkpointsOf(run)).toEqual([only]);
});

it.skipIf(process.platform === 'win32')('a pipe that is called as a file of a run is not waited for', async () => {
  const piped = join(folder, 'runs', 'piped');
  mkdirSync(piped);
  execFileSync('mkfifo', [join(piped, 'run.json')]);
  expect(isRunFolder(piped)).toBe(false);
  expect(() => runFolderOf(piped, folder, 'prune')).toThrow('there is no such run');
  began(-60);
  rmSync(join(run, 'config.yaml'));
  execFileSync('mkfifo', [join(run, 'config.yaml')]);
  const first = await sae('runs/a/checkpoints/100');
  expect(await checkpointsOf(run)).toEqual([first]);
});

it('a config.yaml that somebody spoiled leaves a run its usual places', async () => {
  const first = await sae('runs/a/checkpoints/100');
  for (const spoiled of ['a: [', '{', '- 1', 'output_path: 3', '\0\u0001']) {
    began(-60, spoiled);
    expect(await checkpointsOf(run), spoiled).toEqual([first]);
  }
});
