import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { toJson, writeFileAtomic } from '../../../src/artifacts/atomic.ts';
import { commitFolder, removeAbandoned, stagingSuffix } from '../../../src/artifacts/checkpoints.ts';
import { freeSpace, requireFreeSpace } from '../../../src/artifacts/free-space.ts';
import { MANIFEST_FORMAT, verifyFolder } from '../../../src/artifacts/manifest.ts';
import { restoreReplaced } from '../../../src/artifacts/replace-folder.ts';
import {
  checkRunName,
  configYaml,
  makePlaces,
  runPaths,
  updateRunRecord,
  writeRunFolder,
} from '../../../src/artifacts/run-folder.ts';
import { lockRun } from '../../../src/artifacts/run-lock.ts';
import { readSaeFolder } from '../../../src/artifacts/sae-folder.ts';
import { readSafetensorsHeader } from '../../../src/artifacts/safetensors.ts';
import { SAE } from '../../../src/sae/sae.ts';
import { runRecord } from '../../fixtures/run-record.ts';
import { floats, STANDARD, safetensors, writeSaeFolder } from '../../fixtures/sae-folder.ts';

const OUTPUT = { kind: 'output', nTrainingSamples: 1, runnerConfigs: new Map([[null, {}]]) } as const;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'artifacts-'));
});

async function commit(final: string, n = 100): Promise<void> {
  const staging = `${final}.${stagingSuffix()}`;
  writeSaeFolder(staging);
  await commitFolder({
    staging,
    final,
    kind: 'checkpoint',
    nTrainingSamples: n,
    runnerConfigs: new Map([[null, { seed: n }]]),
    keep: false,
  });
}

describe('a committed folder', () => {
  it('has SAELens’ files and a manifest that vouches for each', async () => {
    const final = join(folder, '100');
    await commit(final);
    expect(readdirSync(folder)).toEqual(['100']);
    const names = ['cfg.json', 'runner_cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'];
    expect(Object.keys((await verifyFolder(final)).files)).toEqual(names);
    expect(readdirSync(final)).toEqual([...names, 'manifest.json'].sort());
  });

  it('takes the place of an older one as a whole', async () => {
    const final = join(folder, 'output');
    await commit(final, 1);
    writeFileSync(join(final, 'optimizer_state.safetensors'), '');
    await commit(final, 2);
    expect((await verifyFolder(final)).n_training_samples).toBe(2);
    expect(existsSync(join(final, 'optimizer_state.safetensors'))).toBe(false);
    expect(readdirSync(folder)).toEqual(['output']);
  });

  it.each([
    ['a flipped byte', (path: string) => writeFileSync(path, Buffer.alloc(readFileSync(path).length, 1)), 'sha256'],
    ['a cut file', (path: string) => truncateSync(path, 10), '10 bytes instead of'],
    ['a missing file', (path: string) => execFileSync('rm', [path]), 'is missing'],
  ])('with %s is no SAE any more', async (_, damage, reason) => {
    const final = join(folder, '7');
    await commit(final);
    damage(join(final, 'sae_weights.safetensors'));
    const refused = { code: 'SAE_INVALID', message: expect.stringContaining(reason) };
    await expect(readSaeFolder(final)).rejects.toMatchObject(refused);
    await expect(SAE.loadFromDisk(final)).rejects.toMatchObject(refused);
  });

  it('may have notes beside the SAE, and may be reached by links', async () => {
    const final = join(folder, '7');
    await commit(final);
    writeFileSync(join(final, 'README.md'), 'mine');
    const linked = join(folder, 'linked');
    mkdirSync(linked);
    for (const name of readdirSync(final)) symlinkSync(join(final, name), join(linked, name));
    expect((await readSaeFolder(linked)).architecture).toBe('standard');
  });

  it('whose manifest names a file outside of it is refused', async () => {
    const final = join(folder, '7');
    await commit(final);
    const path = join(final, 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    manifest.files['../../etc/hostname'] = manifest.files['cfg.json'];
    writeFileSync(path, JSON.stringify(manifest));
    await expect(readSaeFolder(final)).rejects.toMatchObject({ code: 'SAE_INVALID' });
  });

  it('of a newer format is refused with the way out', async () => {
    const final = join(folder, '7');
    await commit(final);
    const path = join(final, 'manifest.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), format: MANIFEST_FORMAT + 1 }));
    await expect(verifyFolder(final)).rejects.toMatchObject({
      code: 'STORAGE',
      hint: expect.stringContaining('npm install'),
    });
  });

  it('is all that is left of a killed run: its staging folders are removed, a person’s are not', async () => {
    const [checkpoints, output] = [join(folder, 'checkpoints'), join(folder, 'output')];
    const abandoned = ['checkpoints/40.tmp-0123abcd', 'checkpoints/final_50.tmp-0123abcd', 'output.tmp-0123abcd'];
    for (const name of abandoned) {
      mkdirSync(join(folder, name), { recursive: true });
      writeFileSync(join(folder, name, 'cfg.json'), '');
      writeFileSync(join(folder, name, 'manifest.json.tmp-0123abcd'), '');
    }
    const kept = ['checkpoints/30', 'checkpoints/mine.tmp-0123abcd', 'other.tmp-0123abcd', 'output.tmp-20261123'];
    for (const name of kept) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'output.tmp-20261123', 'notes.txt'), 'mine');
    const removed = await removeAbandoned({ checkpoints, output });
    expect(removed.sort()).toEqual(abandoned.map((name) => join(folder, name)));
    for (const name of kept) expect(existsSync(join(folder, name)), name).toBe(true);
  });

  it.each([
    ['a file of somebody’s', 'SAE', ['notes.txt'], 'it holds notes.txt'],
    ['a cfg.json that is no SAE’s', null, ['cfg.json'], 'it holds cfg.json and is no SAE'],
    ['many files', null, ['a', 'b', 'c', 'd', 'e'], 'it holds a, b, c and 2 more'],
  ])(
    'never takes the place of a folder with %s, neither when the run begins nor at its end',
    async (_, sae, names, problem) => {
      const output = join(folder, 'mine');
      if (sae === null) mkdirSync(output);
      else writeSaeFolder(output);
      for (const name of names) writeFileSync(join(output, name), 'mine');
      const before = readdirSync(output);
      const refused = {
        code: 'STORAGE',
        message: expect.stringContaining(problem),
        hint: expect.stringContaining('--output_path'),
      };
      const paths = runPaths({ runsFolder: join(folder, 'runs'), name: 'r', outputPath: output });
      await expect(makePlaces(paths)).rejects.toMatchObject(refused);
      await expect(commit(output)).rejects.toMatchObject(refused);
      expect(readdirSync(output)).toEqual(before);
    },
  );

  it.each(['runs', 'runs/r', '.'])('is never asked for where the run itself writes: %s', async (outputPath) => {
    const paths = runPaths({ runsFolder: join(folder, 'runs'), name: 'r', outputPath: join(folder, outputPath) });
    await expect(makePlaces(paths)).rejects.toThrow('the run itself writes to');
  });

  it('takes the place of an empty folder and of an SAE of SAELens', async () => {
    const paths = runPaths({ runsFolder: join(folder, 'runs'), name: 'r', outputPath: join(folder, 'output') });
    mkdirSync(paths.output);
    await makePlaces(paths);
    writeSaeFolder(paths.output);
    await makePlaces(paths);
    await commit(paths.output);
    await verifyFolder(paths.output);
  });

  it('leaves a copy alone that a person named as we name what is replaced', async () => {
    for (const name of ['output', 'output.old-20261123', 'output.old-0123abcd']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'output.old-20261123', 'notes.txt'), 'mine');
    await restoreReplaced(join(folder, 'output'));
    expect(readdirSync(folder)).toEqual(['output', 'output.old-20261123']);
  });

  it('comes back when a replacement was cut in half', async () => {
    mkdirSync(join(folder, 'output.old-0123abcd'));
    await restoreReplaced(join(folder, 'output'));
    expect(readdirSync(folder)).toEqual(['output']);
  });

  it('is not made from a staging folder without an SAE, which is removed', async () => {
    const final = join(folder, 'output');
    const staging = `${final}.${stagingSuffix()}`;
    mkdirSync(staging);
    const commit = commitFolder({ ...OUTPUT, staging, final, keep: false });
    await expect(commit).rejects.toMatchObject({ code: 'SAE_INVALID' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that cannot be made of what the run was for leaves its files where no later run removes them', async () => {
    const final = join(folder, 'output');
    mkdirSync(final);
    writeFileSync(join(final, 'notes.txt'), 'mine');
    const staging = `${final}.${stagingSuffix()}`;
    writeSaeFolder(staging);
    const commit = commitFolder({ ...OUTPUT, staging, final, keep: true });
    const kept = staging.replace('.tmp-', '.unsaved-');
    await expect(commit).rejects.toMatchObject({
      code: 'STORAGE',
      hint: expect.stringContaining(kept),
      details: { kept },
    });
    expect(await removeAbandoned({ checkpoints: folder, output: final })).toEqual([]);
    expect((await readSaeFolder(kept)).d_sae).toBe(8);
  });
});

describe('safetensors headers', () => {
  const tensor = (changes: object) => ({ x: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...changes } });
  const huge = Buffer.alloc(64, 0xff);
  it.each([
    ['a length of 2^64', huge, 'header claims'],
    ['seven bytes', Buffer.alloc(7), 'only 7 bytes'],
    ['no JSON', Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{]')]), 'not JSON'],
    ['an unknown dtype', safetensors(tensor({ dtype: 'Q4' }), 8), 'dtype "Q4"'],
    ['a shape that does not fit', safetensors(tensor({ shape: [3] }), 8), 'needs 12'],
    ['a shape beyond counting', safetensors(tensor({ shape: [2 ** 40, 2 ** 40] }), 8), 'takes 8 bytes'],
    ['negative offsets', safetensors(tensor({ data_offsets: [-8, 0] }), 8), 'offsets [-8,0]'],
    ['a gap', safetensors(tensor({ data_offsets: [8, 16] }), 16), 'begins at 8 instead of 0'],
    ['an overlap', safetensors({ ...tensor({}), y: tensor({}).x }, 8), 'begins at 0 instead of 8'],
    ['data that is cut off', safetensors(tensor({}), 4), 'take 8 bytes and the file holds 4'],
  ])('with %s are refused', async (_, bytes, reason) => {
    const path = join(folder, 'x.safetensors');
    writeFileSync(path, bytes);
    await expect(readSafetensorsHeader(path)).rejects.toMatchObject({
      code: 'SAE_INVALID',
      message: expect.stringContaining(reason),
    });
  });

  it('with one random byte changed are read or refused, never anything else', async () => {
    const path = join(folder, 'x.safetensors');
    const good = floats(STANDARD);
    let refused = 0;
    for (let i = 0; i < 500; i++) {
      const bytes = Buffer.from(good);
      bytes[(i * 7919) % 300] = (i * 31) % 256;
      writeFileSync(path, bytes);
      await readSafetensorsHeader(path).catch((error) => {
        expect(error).toMatchObject({ code: 'SAE_INVALID' });
        refused++;
      });
    }
    expect(refused).toBeGreaterThan(100);
  });
});

describe('readSaeFolder', () => {
  it('reads folders of SAELens 6 and 5', async () => {
    writeSaeFolder(folder);
    expect(await readSaeFolder(folder)).toMatchObject({
      vocabulary: 'v6',
      architecture: 'standard',
      d_in: 4,
      d_sae: 8,
    });
    writeSaeFolder(folder, { metadata: undefined, activation_fn_str: 'topk', hook_name: 'blocks.0' });
    expect(await readSaeFolder(folder)).toMatchObject({ vocabulary: 'v5', architecture: 'topk' });
  });

  it.each([
    ['a missing tensor', { architecture: 'jumprelu' }, STANDARD, 'threshold is missing'],
    ['an extra tensor', {}, { ...STANDARD, evil: [1] }, 'do not belong there: evil'],
    ['another size', { d_sae: 9 }, STANDARD, 'instead of [4,9]'],
    ['no sizes', { d_in: -1 }, STANDARD, 'd_in -1'],
  ])('refuses %s', async (_, cfg, shapes, reason) => {
    writeSaeFolder(folder, cfg, shapes);
    await expect(readSaeFolder(folder)).rejects.toMatchObject({
      code: 'SAE_INVALID',
      message: expect.stringContaining(reason),
    });
  });
});

describe('the run lock', () => {
  const places = (name: string, more = {}) => runPaths({ runsFolder: join(folder, 'runs'), name, ...more });

  it('refuses a second run on the folder and names the first', async () => {
    const lock = await lockRun(places('a'));
    await expect(lockRun(places('a'))).rejects.toThrow(`process ${process.pid} on ${hostname()}`);
    await lock.release();
    await (await lockRun(places('a'))).release();
    expect(readdirSync(join(folder, 'runs', 'a'))).toEqual([]);
  });

  it('refuses a run that would save where another one saves, whatever their names; both can be tried again', async () => {
    const output = join(folder, 'sae');
    const lock = await lockRun(places('a', { outputPath: output }));
    await expect(lockRun(places('b', { outputPath: output }))).rejects.toThrow(`Cannot train in "${output}"`);
    await expect(lockRun(places('c', { outputPath: places('a').checkpoints }))).rejects.toThrow('Cannot train in');
    await (await lockRun(places('b'))).release();
    await lock.release();
    await (await lockRun(places('b', { outputPath: output }))).release();
    expect(readdirSync(folder)).toEqual(['runs']);
  });

  it('takes over from a process that is gone, from a boot that is over, and from a pid used again', async () => {
    const dead = { id: 'x', pid: 2 ** 22 - 1, processStart: '1', bootId: null, host: hostname(), since: 'then' };
    const paths = places('a');
    mkdirSync(paths.folder, { recursive: true });
    for (const holder of [dead, { ...dead, pid: 1, bootId: 'another' }, { ...dead, pid: process.pid }]) {
      writeFileSync(join(paths.folder, 'lock.json'), JSON.stringify(holder));
      const lock = await lockRun(paths);
      expect(lock.tookOver).toEqual({ pid: holder.pid, since: 'then' });
      await lock.release();
    }
  });

  it('believes a lock of another machine', async () => {
    const paths = places('a');
    mkdirSync(paths.folder, { recursive: true });
    const holder = { id: 'x', pid: 1, host: 'elsewhere', since: 'then' };
    writeFileSync(join(paths.folder, 'lock.json'), JSON.stringify(holder));
    await expect(lockRun(paths)).rejects.toThrow('on elsewhere');
  });
});

describe('the run folder', () => {
  it('holds config.yaml with layers and run.json, without secrets', async () => {
    process.env.PLANTED_API_KEY = 'planted-"secret"-value';
    try {
      const paths = runPaths({ runsFolder: folder, name: 'a-run' });
      const config = { seed: 1, sae: { k: 16 }, note: 'planted-"secret"-value' };
      const record = runRecord({ name: 'a-run', command: ['train', '--x', 'planted-"secret"-value'] });
      await writeRunFolder(paths, config, { 'sae.k': 'flag' }, record);
      await updateRunRecord(paths, { machine: { threads: 1 } });
      expect(readFileSync(paths.config, 'utf8')).toContain('k: 16 # flag');
      expect(parse(readFileSync(paths.config, 'utf8'))).toMatchObject({ seed: 1, sae: { k: 16 } });
      expect(JSON.parse(readFileSync(paths.run, 'utf8'))).toMatchObject({
        command: ['train', '--x', '[secret]'],
        machine: { threads: 1 },
      });
      expect(() => execFileSync('grep', ['-rq', 'planted-', paths.folder])).toThrow();
    } finally {
      delete process.env.PLANTED_API_KEY;
    }
  });

  it('lets output_path and checkpoint_path lie elsewhere', () => {
    const paths = runPaths({ runsFolder: 'runs', name: 'r', outputPath: '/o', checkpointPath: '/c' });
    expect([paths.output, paths.checkpoints]).toEqual(['/o', join('/c', 'r')]);
  });

  it.each(['../x', 'a/b', '', '-rf', 'x;rm', 'a\nb', '.hidden'])('is never named %j', (name) => {
    expect(() => checkRunName(name)).toThrow();
  });

  it('keeps every key of the configuration', () => {
    expect(parse(configYaml({ a: [1, null], b: {}, c: null, d: 'x # y' }, { d: 'file' }))).toEqual({
      a: [1, null],
      b: {},
      c: null,
      d: 'x # y',
    });
  });
});

it('writeFileAtomic leaves the old content or the new, and no temporary file', async () => {
  const path = join(folder, 'x.json');
  await writeFileAtomic(path, toJson({ a: 1 }));
  mkdirSync(join(folder, 'taken'));
  await expect(writeFileAtomic(join(folder, 'taken'), 'x')).rejects.toThrow();
  expect(readdirSync(folder)).toEqual(['taken', 'x.json']);
});

it('free space is that of the nearest folder that exists, and too little of it names what to do', async () => {
  expect(await freeSpace(join(folder, 'not', 'yet'))).toBeGreaterThan(0);
  await expect(requireFreeSpace(folder, 1e18)).rejects.toMatchObject({
    code: 'STORAGE',
    hint: expect.stringContaining('output_path'),
  });
});
