import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commitFolder, stagingSuffix } from '../../src/artifacts/checkpoints.ts';
import { MANIFEST_NAME, verifyFolder } from '../../src/artifacts/manifest.ts';
import { modelCard } from '../../src/artifacts/model-card.ts';
import { readResumePoint } from '../../src/artifacts/resume-point.ts';
import { type RunPaths, runPaths, writeRunFolder } from '../../src/artifacts/run-folder.ts';
import { lockRun } from '../../src/artifacts/run-lock.ts';
import { checkSaeFolder } from '../../src/artifacts/sae-folder.ts';
import { isShareable, localSae, localSaes, sharedSae } from '../../src/artifacts/sae-publication.ts';
import { parseConfigObject } from '../../src/config/index.ts';
import { SaeLensError } from '../../src/errors.ts';
import { compareRuns } from '../../src/runners/compare.ts';
import { configFrom } from '../../src/runners/config-from.ts';
import { within } from '../../src/worker/deadline.ts';
import { runRecord } from '../fixtures/run-record.ts';
import { writeSaeFolder, writeTrainingState } from '../fixtures/sae-folder.ts';
import { mutations } from '../mutations.ts';

const ROUNDS = 500;
const READ_DEADLINE_MS = 5_000;
/** What reading a folder of a few KB may cost at most: a length that a file claims must never be believed. */
const LARGEST_GROWTH_BYTES = 256 << 20;
const METRICS = { step: 10, 'losses/mse_loss': 0.5, 'metrics/l0': 4 };

const scratch = mkdtempSync(join(tmpdir(), 'run-folder-'));
let paths: RunPaths;
/** As SAELens' folders are: without a manifest that would see every change. */
let bare: string;

beforeAll(async () => {
  paths = runPaths({ runsFolder: scratch, name: 'a-run' });
  const sae = { architecture: 'standard', d_in: 4, d_sae: 8 };
  const config = parseConfigObject({ model_name: 'm', hook_name: 'h', dataset_path: 'd', sae }, () => {});
  const facts = { versions: { node: '20' }, hashes: {}, machine: { threads: 1 }, sizes: { d_in: 4 } };
  const record = runRecord({ name: 'a-run', ...facts });
  await writeRunFolder(paths, config, { 'sae.d_sae': 'flag' }, record);
  writeFileSync(paths.metrics, `${JSON.stringify(METRICS)}\n`);
  const staging = `${paths.output}.${stagingSuffix()}`;
  writeSaeFolder(staging, { metadata: { sae_lens_version: '6.54.12', hook_name: 'h', model_name: 'm' } });
  writeTrainingState(staging, 64);
  const runnerConfigs = new Map([[null, config]]);
  await commitFolder({ staging, final: paths.output, kind: 'output', nTrainingSamples: 1, runnerConfigs, keep: false });
  bare = join(scratch, 'bare');
  writeSaeFolder(bare);
  writeFileSync(join(bare, 'runner_cfg.json'), readFileSync(join(paths.output, 'runner_cfg.json')));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Everything that is read of an SAE on this side: to load it, to share it, to start from it. */
async function readSae(folder: string): Promise<void> {
  await checkSaeFolder(folder);
  await isShareable(folder);
  const { cfg, runner } = await sharedSae(folder);
  modelCard(null, [{ id: 'h', metrics: METRICS, cfg, runner }], { repo: 'u/r', revision: 'main' });
}

async function readRun(): Promise<void> {
  const { metrics } = await localSae(paths.folder);
  for (const value of Object.values(metrics)) expect(value).toBeTypeOf('number');
  await localSaes(paths.folder);
}

const lock = async (): Promise<void> => (await lockRun(paths)).release();

/** Files that somebody may lack, damaged too: what is in them is left out. */
const NOTES = ['metrics.jsonl', 'metrics.jsonl, of a run that is compared', 'runner_cfg.json'];

it.each<[string, () => string, () => Promise<unknown>]>([
  ['config.yaml, of which a run begins', () => paths.config, () => configFrom(paths.config)],
  ['config.yaml, of a run that is shared', () => paths.config, readRun],
  ['metrics.jsonl', () => paths.metrics, readRun],
  ['lock.json', () => join(paths.folder, 'lock.json'), lock],
  ['manifest.json', () => join(paths.output, MANIFEST_NAME), () => verifyFolder(paths.output)],
  ['cfg.json', () => join(bare, 'cfg.json'), () => readSae(bare)],
  ['sae_weights.safetensors', () => join(bare, 'sae_weights.safetensors'), () => readSae(bare)],
  ['runner_cfg.json', () => join(bare, 'runner_cfg.json'), () => readSae(bare)],
  ['training_state.json', () => join(paths.output, 'training_state.json'), () => readResumePoint(paths.output)],
  [
    'training_state.safetensors',
    () => join(paths.output, 'training_state.safetensors'),
    () => readResumePoint(paths.output),
  ],
  ['metrics.jsonl, of a run that is compared', () => paths.metrics, () => compareRuns(['a-run', 'a-run'], scratch)],
  ['run.json, of a run that is compared', () => paths.run, () => compareRuns(['a-run', 'a-run'], scratch)],
  ['runner_cfg.json, of which a run begins', () => join(bare, 'runner_cfg.json'), () => configFrom(bare)],
])('%s, damaged in 500 ways, is read or refused with a code, and takes no memory (S4)', async (name, file, read) => {
  const path = file();
  if (name === 'lock.json') {
    const held = await lockRun(paths);
    writeFileSync(join(scratch, name), readFileSync(path));
    await held.release();
  }
  const whole = readFileSync(name === 'lock.json' ? join(scratch, name) : path);
  const before = process.memoryUsage().rss;
  const outcomes = { read: 0, refused: 0 };
  try {
    for (const damaged of mutations(whole, ROUNDS, 6)) {
      writeFileSync(path, damaged);
      const said = `${name} as ${JSON.stringify(damaged.toString())}`;
      await within(read(), READ_DEADLINE_MS, () => expect.fail(`${said} is read for ever`)).then(
        () => outcomes.read++,
        (error) => {
          if (!(error instanceof SaeLensError) || error.code === 'BUG') throw new Error(said, { cause: error });
          outcomes.refused++;
        },
      );
    }
  } finally {
    writeFileSync(path, whole);
  }
  expect(outcomes.read + outcomes.refused).toBe(ROUNDS);
  if (NOTES.includes(name)) expect(outcomes.refused).toBe(0);
  else expect(outcomes.refused).toBeGreaterThan(0);
  expect(process.memoryUsage().rss - before).toBeLessThan(LARGEST_GROWTH_BYTES);
});

it('a file of the checkpoint that is other than it was written is always refused', async () => {
  for (const name of ['cfg.json', 'runner_cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors']) {
    const path = join(paths.output, name);
    const whole = readFileSync(path);
    for (const damaged of mutations(whole, 100, 7)) {
      if (damaged.equals(whole)) continue;
      writeFileSync(path, damaged);
      await expect(verifyFolder(paths.output), name).rejects.toMatchObject({ code: 'SAE_INVALID' });
    }
    writeFileSync(path, whole);
  }
});
