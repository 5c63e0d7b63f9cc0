import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readSafetensorsHeader } from '../../src/artifacts/safetensors.ts';
import {
  configFrom,
  SAE,
  SAETrainingRunner,
  startWorker,
  TopKTrainingSAEConfig,
  type Worker,
} from '../../src/index.ts';
import { commandLineForTests } from '../command-line.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { tinyModel, tinyRun } from '../fixtures/tiny-model.ts';
import { MARKER } from '../orphans.ts';

const LIBRARIES = join(import.meta.dirname, '../golden/libraries');
const { folder, marker, run } = commandLineForTests();
const registry = join(folder, 'mine.yaml');
let hub: MockHub;
let worker: Worker;
let model: string;
let output: string;

/** The files of a folder, as a repository has them below `at`. */
function filesOf(root: string, at: string): Record<string, Buffer> {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(root, path)).isFile(),
  );
  return Object.fromEntries(paths.map((path) => [`${at}/${relative('.', path)}`, readFileSync(join(root, path))]));
}

/** Tensors of float32 of a safetensors file. */
async function floats(path: string): Promise<Record<string, Float32Array>> {
  const bytes = readFileSync(path);
  const data = 8 + Number(bytes.readBigUInt64LE());
  const entries = [...(await readSafetensorsHeader(path))].map(
    ([
      name,
      {
        offsets: [from, to],
      },
    ]) => {
      const part = new Uint8Array(bytes.subarray(data + from, data + to));
      return [name, new Float32Array(part.buffer)] as const;
    },
  );
  return Object.fromEntries(entries);
}

beforeAll(async () => {
  process.env[MARKER] = marker;
  hub = await MockHub.start();
  const cache = mkdtempSync(join(tmpdir(), 'sae-lens-ts-hub-'));
  const none = { HF_TOKEN: '', HUGGING_FACE_HUB_TOKEN: '', HF_HUB_OFFLINE: '' };
  const env = { ...none, HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, HF_TOKEN_PATH: join(cache, 'none') };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  worker = await startWorker();
  model = tinyModel();
  const cfg = tinyRun(model, new TopKTrainingSAEConfig({ d_in: 32, d_sae: 64, k: 4 }), 640);
  output = (await new SAETrainingRunner(cfg, { worker, runsFolder: join(folder, 'runs') }).run()).output as string;
  hub.commit('me/saes', {
    ...filesOf(output, 'ours/first'),
    ...filesOf(join(LIBRARIES, 'sparsify', 'layers.2'), 'layers.2'),
    ...filesOf(join(LIBRARIES, 'GatedAutoEncoder'), 'gated'),
  });
  writeFileSync(
    registry,
    `mine: {repo_id: me/saes, model: tiny, saes: [{id: one, path: ours/first}]}
theirs: {repo_id: me/saes, model: pythia, conversion_func: sparsify, saes: [{id: two, path: layers.2}]}
dictionaries: {repo_id: me/saes, model: pythia, conversion_func: dictionary_learning_1, saes: [{id: gated, path: gated}]}
`,
  );
});
afterAll(async () => {
  await worker.shutdown();
  await hub.close();
  vi.unstubAllEnvs();
  rmSync(model, { recursive: true });
});

describe('a release of one’s own registry', () => {
  it.each([
    ['theirs', 'two', 'sparsify', { architecture: 'topk', k: 3 }],
    ['dictionaries', 'gated', 'GatedAutoEncoder', { architecture: 'gated' }],
  ])(
    '%s is fetched, read in its library’s format, and gives what that library gave',
    async (name, id, recorded, cfg) => {
      const [sae, dictionary] = await SAE.fromPretrained(name, id, { registry, worker });
      expect(dictionary).toMatchObject({ ...cfg, metadata: { model_name: 'pythia' } });
      const { x, latents, reconstruction } = await floats(join(LIBRARIES, `${recorded}.safetensors`));
      const found = await sae.encode(x as Float32Array);
      const off = (a: Float32Array, b: Float32Array) =>
        a.reduce((most, v, i) => Math.max(most, Math.abs(v - (b[i] ?? NaN))), 0);
      expect(off(found, latents as Float32Array)).toBeLessThan(1e-5);
      expect(off(await sae.decode(found), reconstruction as Float32Array)).toBeLessThan(1e-5);
      await sae.close();
    },
  );

  it('that is misspelled is answered with its name before anything is fetched', async () => {
    const before = hub.requests.length;
    await expect(SAE.fromPretrained('mien', 'one', { registry, worker })).rejects.toMatchObject({
      code: 'RELEASE_NOT_FOUND',
      hint: expect.stringContaining('mine'),
    });
    expect(hub.requests.length).toBe(before);
  });

  it('is listed by the command line, beside the well-known ones', async () => {
    const one = await run(['pretrained', 'mine', '--registry', registry, '--json']);
    expect(JSON.parse(one.stdout)).toEqual([
      { release: 'mine', repo: 'me/saes', model: 'tiny', format: 'sae_lens', saes: { one: 'ours/first' } },
    ]);
    const known = await run(['pretrained', 'gpt2-small-res-jb']);
    expect(known.stdout).toContain("SAE.fromPretrained('gpt2-small-res-jb', 'blocks.0.hook_resid_pre')");
    const broken = await run(['pretrained', '--registry', output]);
    expect([broken.code, broken.stderr]).toEqual([2, expect.stringContaining('REGISTRY_INVALID')]);
  });
});

describe('a published run', () => {
  it('is the start of another: its settings are shown, its weights are fetched, its name is recorded', async () => {
    const cfg = await configFrom(
      'mine/one',
      { lr: 1e-6, from_pretrained_path: 'hub:me/saes/ours/first' },
      { registry },
    );
    expect(cfg).toMatchObject({ training_tokens: 640, lr: 1e-6, hook_name: 'model.layers.0' });
    const runner = new SAETrainingRunner(cfg, { worker, runsFolder: join(folder, 'runs'), name: 'tuned' });
    const { output: tuned } = await runner.run();
    const recorded = JSON.parse(readFileSync(join(tuned as string, 'runner_cfg.json'), 'utf8'));
    expect(recorded.from_pretrained_path).toBe('hub:me/saes/ours/first');
    const [before, after] = await Promise.all(
      [output, tuned as string].map((place) => floats(join(place, 'sae_weights.safetensors'))),
    );
    // At so small a rate ten steps leave the weights where they were; a new draw would be nowhere near.
    const moved = Math.max(...(after?.W_dec ?? []).map((value, i) => Math.abs(value - (before?.W_dec?.[i] ?? NaN))));
    expect(moved).toBeGreaterThan(0);
    expect(moved).toBeLessThan(1e-3);
  });

  it('is shown by --from before anything starts, with what the flags make of it', async () => {
    const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: join(folder, 'cache'), HF_HUB_OFFLINE: '' };
    const shown = await run(['train', '--from', 'hub:me/saes/ours/first', '--lr', '0.01', '--dry-run'], { env });
    expect(shown.code, shown.stderr).toBe(0);
    expect(shown.stderr).toMatch(/from hub:me\/saes\/ours\/first: \d+ settings that differ/);
    expect(shown.stderr).toMatch(/ {2}sae\.k +4 +100\n/);
    expect(shown.stderr).toMatch(/ {2}lr +0\.0003 +0\.0003 +0\.01 {2}\(--lr\)\n/);
    expect(shown.stdout).toContain('topk k=4 · 32 → 64 latents');
    const printed = await run(['config', 'print', '--from', output, '--json']);
    const { config, provenance } = JSON.parse(printed.stdout);
    expect([config.sae.k, provenance['sae.k'].layer, provenance['sae.k'].source]).toEqual([4, 'from', output]);
    const nowhere = await run(['train', '--from', 'hub:me/saes/ours/second', '--dry-run'], { env });
    expect([nowhere.code, nowhere.stderr]).toEqual([4, expect.stringContaining('ours/first')]);
  });
});
