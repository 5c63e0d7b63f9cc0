import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { configFrom } from '../../../src/index.ts';
import { MockHub } from '../../fixtures/mock-hub.ts';

const RUN = {
  model_name: 'tiny',
  hook_name: 'blocks.0.hook_resid_post',
  dataset_path: 'theirs/text',
  training_tokens: 1_000_000,
  lr: 4e-4,
  sae: { architecture: 'topk', d_in: 8, d_sae: 64, k: 4 },
};
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const quiet = { notice: () => {} };
let hub: MockHub;
let folder: string;

beforeEach(async () => {
  hub = await MockHub.start();
  folder = mkdtempSync(join(tmpdir(), 'sae-lens-ts-from-'));
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_HUB_OFFLINE', 'HF_HUB_CACHE']) vi.stubEnv(name, '');
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'cache'));
  vi.stubEnv('HF_TOKEN_PATH', join(folder, 'no-token'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  rmSync(folder, { recursive: true });
});

function publish(run: unknown, revision = 'main'): void {
  const files = { 'a/b/cfg.json': json({}), 'a/b/runner_cfg.json': json(run) };
  hub.commit('user/repo', { ...files, 'a/b/sae_weights.safetensors': Buffer.alloc(5000) }, revision);
}

test('a run on the hub is taken at its revision without its weights, and changed by yours', async () => {
  publish(RUN);
  publish({ ...RUN, lr: 1 }, 'old');
  const cfg = await configFrom('hub:user/repo/a/b', { lr: 1e-5, sae: { k: 8 } }, quiet);
  expect(cfg).toMatchObject({ model_name: 'tiny', lr: 1e-5, training_tokens: 1_000_000 });
  expect(cfg.sae).toMatchObject({ architecture: 'topk', d_sae: 64, k: 8 });
  expect((await configFrom('hub:user/repo/a/b@old', {}, quiet)).lr).toBe(1);
  expect(hub.requests.filter(({ line }) => line.includes('/resolve/') && line.includes('.safetensors'))).toEqual([]);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect((await configFrom('hub:user/repo/a/b', {}, quiet)).lr).toBe(4e-4);
});

test('a release, a run folder and a file are followed too', async () => {
  publish(RUN);
  const registry = join(folder, 'mine.yaml');
  writeFileSync(registry, 'mine: {repo_id: user/repo, model: tiny, saes: [{id: first/one, path: a/b}]}');
  expect((await configFrom('mine/first/one', {}, { ...quiet, registry })).sae.d_sae).toBe(64);
  mkdirSync(join(folder, 'run'));
  writeFileSync(join(folder, 'run', 'config.yaml'), JSON.stringify({ ...RUN, lr: 0.5 }));
  expect(await configFrom(join(folder, 'run'), {}, quiet)).toMatchObject({ lr: 0.5, sae: { k: 4 } });
  writeFileSync(join(folder, 'cfg.json'), json(RUN));
  expect((await configFrom(join(folder, 'cfg.json'), {}, quiet)).sae.d_sae).toBe(64);
});

test.each([
  ['a folder that tells of no training', 'empty', 'USAGE', 'nothing there tells how it was trained'],
  ['what is nowhere', 'nowhere/at/all', 'USAGE', 'no such file or folder'],
  ['a hub reference without a repository', 'hub:user', 'USAGE', 'names no repository'],
  ['an unknown id of a release', 'gpt2-small-res-jb/blocks.99', 'RELEASE_NOT_FOUND', 'has no SAE'],
  ['a broken file', 'broken.json', 'CONFIG_INVALID', ''],
])('%s is refused with its own words', async (_, reference, code, words) => {
  mkdirSync(join(folder, 'empty'));
  writeFileSync(join(folder, 'broken.json'), '{"lr": ');
  const path = ['empty', 'broken.json'].includes(reference) ? join(folder, reference) : reference;
  await expect(configFrom(path, {}, quiet)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
});

test('an SAE of a library that tells of no training is refused, and its weights are not fetched', async () => {
  hub.commit('user/scope', { 'layer_0/params.npz': Buffer.alloc(5000) });
  await expect(configFrom('hub:user/scope/layer_0', {}, quiet)).rejects.toMatchObject({ code: 'USAGE' });
  expect(hub.requests.filter(({ line }) => line.includes('/resolve/') && line.startsWith('GET'))).toEqual([]);
});

test('what was left out is told', async () => {
  publish({ ...RUN, device: 'cuda:1' });
  const notices: string[] = [];
  await configFrom('hub:user/repo/a/b', {}, { notice: (line) => notices.push(line) });
  expect(notices).toEqual(['hub:user/repo/a/b: left out what belongs to that run or machine: device']);
});
