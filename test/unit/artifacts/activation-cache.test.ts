import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  type CacheManifest,
  damagedShards,
  readCacheManifest,
  requireCacheManifest,
  shardsOfOtherSize,
} from '../../../src/artifacts/activation-cache.ts';
import { damagedDatasetFiles, unknownFiles } from '../../../src/artifacts/activation-cache-files.ts';
import { cacheProgress, stagingFolder } from '../../../src/artifacts/activation-cache-folder.ts';

let path = '';
const OPTIONS = { model_name: 'gpt2', seed: 42, hf_repo_id: null, new_cached_activations_path: 'a' };
const SHARDS = ['data-00000-of-00002.arrow', 'data-00001-of-00002.arrow'];

beforeEach(() => {
  const made = mkdtempSync(join(tmpdir(), 'cache-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  path = join(made, 'cache');
});

/** A folder with a manifest of so many shards of two; their content is not Arrow, which nobody here reads. */
function write(place: string, nShards = 2, options: object = OPTIONS): CacheManifest {
  mkdirSync(place);
  const manifest: CacheManifest = {
    format: 'sae-lens-ts activation cache',
    version: 1,
    model_name: 'gpt2',
    model_revision: null,
    hook_names: ['h'],
    d_in: { h: 4 },
    dtype: 'float32',
    context_size: 8,
    seqpos_slice: [null],
    tokenizer_sha256: null,
    dataset_path: 'd',
    dataset_revision: null,
    seed: 42,
    shuffle: true,
    n_sequences: 6,
    n_tokens: 48,
    tokens_sha256: '0'.repeat(64),
    prepend_bos: true,
    sequence_separator_token: 'bos',
    disable_concat_sequences: false,
    shards: SHARDS.slice(0, nShards).map((file) => {
      const sha256 = createHash('sha256').update(file).digest('hex');
      writeFileSync(join(place, file), file);
      return { file, rows: 3, bytes: file.length, sha256 };
    }),
  };
  writeFileSync(join(place, 'manifest.json'), JSON.stringify(manifest));
  writeFileSync(join(place, 'cache_activations_runner_cfg.json'), JSON.stringify(options));
  return manifest;
}

describe('the place of a cache', () => {
  it('is new when nothing is there, or an empty folder, or a beginning without a shard', async () => {
    expect(await cacheProgress(path, OPTIONS)).toEqual({ state: 'new' });
    mkdirSync(path);
    mkdirSync(stagingFolder(path));
    writeFileSync(join(stagingFolder(path), 'tokens.bin'), '');
    expect(await cacheProgress(path, OPTIONS)).toEqual({ state: 'new' });
  });

  it('is begun or done by the same options, wherever the cache and its copy on the hub lie', async () => {
    const begun = write(stagingFolder(path), 1);
    const moved = { ...OPTIONS, new_cached_activations_path: 'b', hf_repo_id: 'me/cache' };
    expect(await cacheProgress(path, moved)).toEqual({ state: 'begun', manifest: begun });
    const done = write(path);
    expect(await cacheProgress(path, moved)).toEqual({ state: 'done', manifest: done });
  });

  it.each([
    ['a cache of other options', () => write(path), 'seed was 42 and is 7'],
    ['a beginning of other options', () => write(stagingFolder(path), 1), 'seed was 42 and is 7'],
    ['an incomplete cache', () => write(path, 1), 'which is no cache of ours'],
    ['a file', () => writeFileSync(path, 'x'), 'it is a file'],
    ['a folder of somebody else', () => mkdirSync(join(path, 'photos'), { recursive: true }), 'photos is there'],
    ['such a folder beside it', () => mkdirSync(join(stagingFolder(path), 'p'), { recursive: true }), 'p is there'],
  ])('is refused where %s is', async (_, make, message) => {
    make();
    const refused = cacheProgress(path, { ...OPTIONS, seed: 7 });
    await expect(refused).rejects.toMatchObject({ code: 'STORAGE', message: expect.stringContaining(message) });
  });
});

describe('the bytes of a cache', () => {
  it('are those of the manifest, or the shard is named with what is wrong', async () => {
    const manifest = write(path);
    let read = 0;
    expect(await damagedShards(path, manifest, (bytes) => (read = bytes))).toEqual([]);
    expect(read).toBe(50);
    writeFileSync(join(path, SHARDS[0] as string), 'Data-00000-of-00002.arrow');
    rmSync(join(path, SHARDS[1] as string));
    expect(await damagedShards(path, manifest)).toEqual([
      { file: SHARDS[0], reason: 'other content than was written (sha256)' },
      { file: SHARDS[1], reason: 'it is missing' },
    ]);
    writeFileSync(join(path, SHARDS[1] as string), 'short');
    expect((await damagedShards(path, manifest))[1]?.reason).toBe('5 bytes instead of 25');
  });

  it('are not asked of a folder whose manifest is none, is newer or leads out of it', async () => {
    await expect(requireCacheManifest(path)).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
    const manifest = write(path);
    const [first] = manifest.shards;
    const bad = [
      'no json',
      '{}',
      JSON.stringify({ ...manifest, version: 2 }),
      JSON.stringify({ ...manifest, shards: [{ ...first, file: '../../etc/passwd' }] }),
    ];
    for (const text of bad) {
      writeFileSync(join(path, 'manifest.json'), text);
      await expect(readCacheManifest(path), text).rejects.toMatchObject({ code: 'STORAGE' });
    }
    rmSync(join(path, 'manifest.json'));
    writeFileSync(join(path, 'dataset_info.json'), '{}');
    await expect(requireCacheManifest(path)).rejects.toMatchObject({ code: 'DATASET_INVALID' });
  });
});

describe('the files that make it a dataset', () => {
  const json = (name: string, value: unknown) => writeFileSync(join(path, name), JSON.stringify(value));

  it('are held against the manifest, and what is none of its files is named', async () => {
    const manifest = write(path, 2, { ...OPTIONS, dtype: 'float32', hook_name: 'h' });
    expect((await damagedDatasetFiles(path, manifest)).map(({ file, reason }) => `${file}: ${reason}`)).toEqual([
      'dataset_info.json: it is missing',
      'state.json: it is missing',
    ]);
    json('dataset_info.json', { features: { h: { shape: [8, 4], dtype: 'float32', _type: 'Array2D' } } });
    json('state.json', { _data_files: SHARDS.map((filename) => ({ filename })) });
    expect(await damagedDatasetFiles(path, manifest)).toEqual([]);
    expect(await unknownFiles(path, manifest)).toEqual([]);
    json('dataset_info.json', { features: { h: { shape: [8, 5], dtype: 'float32', _type: 'Array2D' } } });
    json('state.json', { _data_files: [{ filename: SHARDS[1] }] });
    writeFileSync(join(path, 'cache_activations_runner_cfg.json'), '{broken');
    writeFileSync(join(path, 'notes.txt'), '');
    expect((await damagedDatasetFiles(path, manifest)).map(({ file }) => file)).toEqual([
      ...['dataset_info.json', 'state.json', 'cache_activations_runner_cfg.json'],
    ]);
    expect(await unknownFiles(path, manifest)).toEqual(['notes.txt']);
  });

  it('and shards that are gone or cut are found without reading them', async () => {
    const manifest = write(path);
    expect(await shardsOfOtherSize(path, manifest)).toEqual([]);
    rmSync(join(path, SHARDS[0] as string));
    writeFileSync(join(path, SHARDS[1] as string), 'short');
    expect((await shardsOfOtherSize(path, manifest)).map(({ reason }) => reason)).toEqual([
      'it is missing',
      '5 bytes instead of 25',
    ]);
  });
});
