import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { pushDataset } from '../../src/artifacts/hub-dataset.ts';
import { downloadSaeFromHuggingface, SAE, uploadSaesToHuggingface } from '../../src/index.ts';
import { first, MockHub, refuse } from '../fixtures/mock-hub.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';

const TOKEN = 'hf_planted0123456789abcdef';
const REPO = 'user/saes';
const JUDGE = process.env.SAE_LENS_TS_JUDGE_PYTHON;
const marker = newMarker();
let hub: MockHub;
let folder: string;

beforeAll(async () => {
  hub = await MockHub.start();
  folder = mkdtempSync(join(tmpdir(), 'hub-python-'));
  vi.stubEnv(MARKER, marker);
  vi.stubEnv('OMP_NUM_THREADS', '1');
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_TOKEN', TOKEN);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('HF_HOME', join(folder, 'home'));
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'home/hub'));
  for (const name of ['HF_HUB_DISABLE_XET', 'HF_HUB_DISABLE_TELEMETRY']) vi.stubEnv(name, '1');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

/** The Python client as a process beside the hub, which lives in this one. */
const client = async (interpreter: string, ...words: string[]): Promise<string> =>
  (await promisify(execFile)(interpreter, ['test/fixtures/hub_client.py', ...words])).stdout.trim();

describe('huggingface_hub in Python', () => {
  it('downloads what we uploaded: a file and the whole, at a branch', async () => {
    const made = join(folder, 'made');
    writeSaeFolder(made, { metadata: { sae_lens_version: '6.54.12', model_name: 'tiny' } });
    await uploadSaesToHuggingface(
      { 'a/b': made },
      { hf_repo_id: REPO, hf_revision: 'v2', hf_is_private_repo: true, show_progress: false },
    );
    const path = await client(pythonForTests(), 'file', REPO, 'v2', 'a/b/sae_weights.safetensors');
    expect(readFileSync(path)).toEqual(readFileSync(join(made, 'sae_weights.safetensors')));
    await client(pythonForTests(), 'snapshot', 'model', REPO, 'v2', join(folder, 'snapshot'));
    expect(readFileSync(join(folder, 'snapshot/a/b/cfg.json'))).toEqual(readFileSync(join(made, 'cfg.json')));
    expect(readFileSync(join(folder, 'snapshot/README.md'), 'utf8')).toContain('library_name: saelens');
  }, 120_000);

  it('downloads a dataset of ours', async () => {
    const data = join(folder, 'data');
    mkdirSync(data);
    writeFileSync(join(data, 'data-00000-of-00001.arrow'), Buffer.alloc(5_000, 7));
    writeFileSync(join(data, 'state.json'), '{}');
    await pushDataset(data, { repo: 'user/tokens' });
    await client(pythonForTests(), 'snapshot', 'dataset', 'user/tokens', 'main', join(folder, 'tokens'));
    expect(readdirSync(join(folder, 'tokens'))).toEqual(expect.arrayContaining(readdirSync(data)));
    expect(readFileSync(join(folder, 'tokens/data-00000-of-00001.arrow'))).toEqual(Buffer.alloc(5_000, 7));
  }, 120_000);

  it('uploads what we download, in the cache that both use', async () => {
    const made = join(folder, 'theirs');
    writeSaeFolder(made, { d_sae: 64 }, { W_enc: [4, 64], W_dec: [64, 4], b_enc: [64], b_dec: [4] });
    hub.fault = first(1, /preupload/, (_, response) => refuse(response, 503, null));
    await client(pythonForTests(), 'upload', made, 'user/theirs', 'blocks.7');
    const path = await downloadSaeFromHuggingface('user/theirs', 'blocks.7');
    for (const name of readdirSync(made))
      expect(readFileSync(join(path, name))).toEqual(readFileSync(join(made, name)));
    const asked = hub.asked(/GET .*resolve.*weights/).length;
    expect(await client(pythonForTests(), 'file', 'user/theirs', 'main', 'blocks.7/sae_weights.safetensors')).toBe(
      join(path, 'sae_weights.safetensors'),
    );
    expect(hub.asked(/GET .*resolve.*weights/)).toHaveLength(asked);
  }, 120_000);
});

describe('an SAE held here', () => {
  it('is saved and shared as it is held: folded, in its number type; a folder of something else is left alone', async () => {
    const made = join(folder, 'unfolded');
    writeSaeFolder(made, { metadata: { sae_lens_version: '6.54.12', hook_name: 'h' } });
    writeFileSync(join(made, 'activation_scaler.json'), '{"scaling_factor": 0.5}');
    const sae = await SAE.loadFromDisk(made, { dtype: 'bfloat16' });
    await expect(sae.saveInferenceModel(made)).rejects.toMatchObject({ code: 'STORAGE' });
    await sae.saveInferenceModel(join(folder, 'folded'));
    expect(readdirSync(join(folder, 'folded')).sort()).toEqual([
      'cfg.json',
      'sae_weights.safetensors',
      'sparsity.safetensors',
    ]);
    await uploadSaesToHuggingface({ h: sae }, { hf_repo_id: 'user/held', show_progress: false });
    await sae.close();
    const again = { hf_repo_id: 'user/held', show_progress: false };
    await expect(uploadSaesToHuggingface({ h: sae }, again)).rejects.toMatchObject({ code: 'USAGE' });
    const cfg = JSON.parse(String(hub.files('user/held').get('h/cfg.json')));
    expect(cfg).toMatchObject({ dtype: 'bfloat16', normalize_activations: 'none', metadata: { hook_name: 'h' } });
    expect(await uploadSaesToHuggingface({ h: join(folder, 'folded') }, again)).toMatchObject({ sent: [] });
  }, 120_000);
});

describe.skipIf(JUDGE === undefined)('SAELens', () => {
  it('loads by name what we shared: an SAE held here, and its own training formats, which it could not load', async () => {
    const made = join(folder, 'saelens');
    await client(JUDGE as string, 'make', made);
    await using live = await SAE.loadFromDisk(join(made, 'gated'));
    const trained = { batch: join(made, 'batchtopk'), nested: join(made, 'matryoshka_batchtopk') };
    const { converted } = await uploadSaesToHuggingface(
      { 'held/here': live, ...trained },
      { hf_repo_id: 'user/judged', show_progress: false },
    );
    expect(converted).toEqual(['batch', 'nested']);
    const used = ['gated', 'batchtopk', 'matryoshka_batchtopk'].map((name) => join(made, `${name}-used`));
    const out = join(folder, 'out');
    mkdirSync(out);
    await client(JUDGE as string, 'load', 'user/judged', out, 'held/here', 'batch', 'nested', ...used);
    for (const [ours, theirs] of [
      ['here', 'gated-used'],
      ['batch', 'batchtopk-used'],
      ['nested', 'matryoshka_batchtopk-used'],
    ] as const) {
      const [a, b] = [ours, theirs].map(
        (name) => new Float32Array(new Uint8Array(readFileSync(join(out, name))).buffer),
      );
      expect(a).toHaveLength(20 * 32);
      expect(a?.some((value) => value !== 0)).toBe(true);
      expect(Math.max(...(a ?? []).map((value, i) => Math.abs(value - (b?.[i] ?? Number.NaN))))).toBeLessThan(1e-6);
    }
  }, 240_000);
});
