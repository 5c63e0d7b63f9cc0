import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import type { CacheManifest } from '../../../src/artifacts/activation-cache.ts';
import { resolveCommandLine } from '../../../src/cli/layers.ts';
import { addTrainingFlags } from '../../../src/cli/option-flags.ts';
import { spellFlags } from '../../../src/cli/spelling.ts';
import { pushCache } from '../../../src/runners/cache-push.ts';
import { MockHub } from '../../fixtures/mock-hub.ts';

const REPO = 'user/cache';
const MANIFEST: CacheManifest = {
  format: 'sae-lens-ts activation cache',
  version: 1,
  model_name: '/home/ann/models/tiny llama',
  model_revision: null,
  hook_names: ['model.layers.1', 'model.layers.0'],
  d_in: { 'model.layers.0': 4, 'model.layers.1': 8 },
  dtype: 'bfloat16',
  context_size: 12,
  seqpos_slice: [2, -1],
  tokenizer_sha256: null,
  dataset_path: '~/corpora/letters.jsonl',
  dataset_revision: null,
  seed: 42,
  shuffle: true,
  n_sequences: 3,
  n_tokens: 27,
  tokens_sha256: '0'.repeat(64),
  prepend_bos: false,
  sequence_separator_token: null,
  disable_concat_sequences: true,
  shards: [{ file: 'data-00000-of-00001.arrow', rows: 3, bytes: 3, sha256: '0'.repeat(64) }],
};
const OPTIONS = {
  ...{ model_name: MANIFEST.model_name, dataset_path: MANIFEST.dataset_path, new_cached_activations_path: './ann/c' },
  model_from_pretrained_kwargs: { cache_dir: 'C:\\Users\\ann\\hf', revision: 'refs/pr/1' },
};
let hub: MockHub;
let folder: string;

beforeEach(async () => {
  hub = await MockHub.start();
  folder = mkdtempSync(join(tmpdir(), 'cache-push-'));
  writeFileSync(join(folder, 'data-00000-of-00001.arrow'), 'abc');
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(MANIFEST));
  writeFileSync(join(folder, 'cache_activations_runner_cfg.json'), JSON.stringify(OPTIONS));
  vi.stubEnv('HF_HUB_OFFLINE', '');
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await hub.close();
    rmSync(folder, { recursive: true });
  });
});

async function pushed(): Promise<Map<string, string>> {
  const token = 'hf_planted0123456789abcdef';
  await pushCache(folder, MANIFEST, { repo: REPO, hubUrl: hub.url, token, message: 'all' });
  return new Map([...hub.files(`datasets/${REPO}`)].map(([path, bytes]) => [path, bytes.toString()]));
}

it('no file of a pushed cache names a folder of this machine, and here they stay as they were', async () => {
  const there = await pushed();
  expect([...there.values()].filter((text) => /ann|corpora|models\//.test(text))).toEqual([]);
  expect(JSON.parse(there.get('manifest.json') ?? '')).toEqual({
    ...MANIFEST,
    model_name: 'tiny llama',
    dataset_path: 'letters.jsonl',
  });
  expect(JSON.parse(there.get('cache_activations_runner_cfg.json') ?? '')).toEqual({
    ...{ model_name: 'tiny llama', dataset_path: 'letters.jsonl', new_cached_activations_path: 'c' },
    model_from_pretrained_kwargs: { cache_dir: 'hf', revision: 'refs/pr/1' },
  });
  expect(JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))).toEqual(MANIFEST);
});

it('the card says where the data is, and its command resolves to what the cache was made with', async () => {
  const card = (await pushed()).get('README.md') ?? '';
  expect(card).toContain('path: data-*.arrow');
  expect(card).toContain('| `model.layers.1` | 8 |');
  const [, line = ''] = /^sae-lens-ts train ((?:.*\\\n)*.*)$/m.exec(card) ?? [];
  const words = [...line.replaceAll('\\\n', ' ').matchAll(/'([^']*)'|(\S+)/g)].map(
    ([, quoted, plain]) => quoted ?? plain,
  );
  const command = addTrainingFlags(new Command('train')).exitOverride();
  await command.parseAsync(spellFlags(words as string[]), { from: 'user' });
  const { config } = await resolveCommandLine(command, undefined);
  expect(config).toMatchObject({
    ...{ use_cached_activations: true, cached_activations_path: 'activations' },
    ...{ model_name: 'tiny llama', hook_name: 'model.layers.1', dtype: 'bfloat16', context_size: 12 },
    ...{ seqpos_slice: [2, -1], prepend_bos: false, sequence_separator_token: null, disable_concat_sequences: true },
    sae: { d_in: 8 },
  });
});

it('a card that somebody wrote into the cache is sent as it is', async () => {
  writeFileSync(join(folder, 'README.md'), 'mine');
  expect((await pushed()).get('README.md')).toBe('mine');
});
