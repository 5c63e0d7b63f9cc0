import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  CacheActivationsRunner,
  type LanguageModelSAERunnerOptions,
  type Metrics,
  type RunEvent,
  SAETrainingRunner,
  startWorker,
  TopKTrainingSAEConfig,
  type TrainingRun,
  type Worker,
} from '../../src/index.ts';
import { CONTEXT, tinyModel, tinyRun } from '../fixtures/tiny-model.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';

const marker = newMarker();
const SEQUENCES = 200;
let folder: string;
let cache: string;
let worker: Worker;
const events: RunEvent[] = [];
const sink = { name: 'kept', consume: (event: RunEvent) => void events.push(event), close: async () => {} };

beforeAll(async () => {
  process.env[MARKER] = marker;
  process.env.SAE_LENS_TS_PYTHON ??= pythonForTests();
  folder = tinyModel();
  cache = join(folder, 'cache');
  worker = await startWorker();
  const { model_name, model_class_name, hook_name, dataset_path, streaming, context_size } = tinyRun(
    folder,
    topk(),
    64,
  );
  await new CacheActivationsRunner(
    {
      ...{ model_name, model_class_name, hook_name, dataset_path, streaming, context_size },
      d_in: 32,
      training_tokens: SEQUENCES * CONTEXT,
      model_batch_size: 4,
      new_cached_activations_path: cache,
      shuffle: false,
      device: 'cpu',
    } as ConstructorParameters<typeof CacheActivationsRunner>[0],
    { worker },
  ).run();
});
afterAll(async () => {
  await worker.shutdown();
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

const topk = () => new TopKTrainingSAEConfig({ d_sae: 64, k: 4 });
const fromCache = () => ({ use_cached_activations: true, cached_activations_path: cache });

function start(more: Partial<LanguageModelSAERunnerOptions> = {}): Promise<TrainingRun> {
  const cfg = { ...tinyRun(folder, topk(), 1_920), activations_mixing_fraction: 0, ...more };
  return new SAETrainingRunner(cfg, { worker, runsFolder: join(folder, 'runs'), sinks: [sink] }).start();
}

const valuesOf = (rows: Metrics[], name: string): unknown[] =>
  rows.filter((row) => name in row).map((row) => [row.step, row[name]]);

it('training from the cache gives the losses and the evaluation of training live, bit for bit', async () => {
  const live = await (await start()).collect();
  const cached = await (await start(fromCache())).collect();
  for (const name of ['losses/mse_loss', 'model_performance_preservation/ce_loss_score']) {
    expect(valuesOf(live, name).length).toBeGreaterThan(0);
    expect(valuesOf(cached, name)).toEqual(valuesOf(live, name));
  }
});

it('without a dataset no language model is asked for, not even that it is there', async () => {
  events.length = 0;
  const run = await start({ ...fromCache(), dataset_path: '', activations_mixing_fraction: 0.5 });
  const rows = await run.collect();
  expect((await run.done).ended).toBe('done');
  expect(valuesOf(rows, 'reconstruction_quality/explained_variance')).toHaveLength(1);
  expect(valuesOf(rows, 'model_performance_preservation/ce_loss_score')).toEqual([]);
  expect(events.filter((event) => event.kind === 'log' && /loaded/.test(event.message))).toEqual([]);
  expect(events.filter((event) => event.kind === 'stage' && event.stage === 'load_model')).toEqual([]);
});

it.each([
  ['another hook', { hook_name: 'model.layers.1' }, 'HOOK_NOT_FOUND', /model\.layers\.0, not model\.layers\.1/],
  ['another model', { model_name: 'gpt2' }, 'CONFIG_INVALID', /model_name is 'gpt2'.* was made with '.*model'/],
  ['another context', { context_size: 8 }, 'CONFIG_INVALID', /context_size is 8.* 16/],
  ['another type', { dtype: 'bfloat16' }, 'CONFIG_INVALID', /dtype is 'bfloat16'.*'float32'/],
  ['no cache', { cached_activations_path: 'nowhere' }, 'DATASET_NOT_FOUND', /no cache of activations at 'nowhere'/],
] as const)('%s is refused before the first step', async (_, more, code, message) => {
  const run = await start({ ...fromCache(), ...more } as Partial<LanguageModelSAERunnerOptions>);
  await expect(run.done).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

it('a shard that is gone is named with the command that makes it again', async () => {
  rmSync(join(cache, 'data-00000-of-00001.arrow'));
  const run = await start(fromCache());
  await expect(run.done).rejects.toMatchObject({
    code: 'STORAGE',
    message: expect.stringContaining('data-00000-of-00001.arrow'),
    hint: expect.stringContaining('cache repair'),
  });
});
