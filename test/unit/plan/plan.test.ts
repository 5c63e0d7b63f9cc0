import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfigObject, presetLayer, resolveConfig } from '../../../src/config/index.ts';
import { checkpointThresholds } from '../../../src/plan/checkpoints.ts';
import { planTraining, runName } from '../../../src/plan/index.ts';
import type { MemoryPlan } from '../../../src/plan/memory.ts';

const sample = resolveConfig([presetLayer('tiny-stories-1L-21M')]).config;

test('the sample of the documentation takes the steps it says', () => {
  const plan = planTraining(sample, { tokensPerSecond: 12_288 });
  expect(plan).toMatchObject({
    totalSteps: 30_000,
    scheduleSteps: 30_000,
    lrDecayStartStep: 24_000,
    sparsityWarmUpSteps: 1500,
    checkpointsAtSamples: [],
    metricRows: 1000,
    evaluations: 50,
    bufferRows: 64 * 16 * 256,
    durationSeconds: 10_000,
  });
  // W_enc, W_dec, b_enc and b_dec in float32.
  const weightBytes = 4 * (2 * 1024 * 16_384 + 16_384 + 1024);
  expect(plan.memory).toMatchObject({ weightBytes, gradientBytes: weightBytes, optimizerBytes: 2 * weightBytes });
  // Measured: 5.4 numbers for each of 16384 latents of each of 4096 rows.
  expect(plan.memory?.latentBytes).toBe(Math.round(5.4 * 4096 * 16_384 * 4));
  expect(plan.memory?.totalBytes).toBeGreaterThan(4 * weightBytes + (plan.memory?.latentBytes ?? 0));
  expect(plan.disk).toMatchObject({ nSaved: 1, savedBytes: weightBytes });
  expect(Object.isFrozen(plan) && Object.isFrozen(plan.disk)).toBe(true);
});

test('a batch that reaches beyond the last token is a step, but not one of the schedule', () => {
  const config = parseConfigObject({ dataset_path: 'x', training_tokens: 10_000, sae: { architecture: 'standard' } });
  expect(planTraining(config)).toMatchObject({ totalSteps: 3, scheduleSteps: 2, memory: null, durationSeconds: null });
});

test('checkpoints are written at the end of the first step beyond their threshold', () => {
  const config = parseConfigObject({
    dataset_path: 'x',
    training_tokens: 40_960,
    n_checkpoints: 3,
    sae: { architecture: 'topk', d_in: 64, d_sae: 128 },
  });
  const { checkpointsAtSamples, bufferRows, disk } = planTraining(config);
  expect(checkpointsAtSamples).toEqual([12_288, 24_576, 32_768]);
  // Weights and two moments of each, and the buffer: float32 rows, each with 16 bytes that say where it came from.
  const stateBytes = 3 * 4 * (2 * 64 * 128 + 64 + 128) + bufferRows * (64 * 4 + 16);
  expect(disk).toMatchObject({ nResumable: 3, stateBytes });
  expect(disk.totalBytes).toBeGreaterThan(3 * stateBytes);
});

test('memory is reckoned for the copy that a checkpoint is written from while training goes on', () => {
  const of = (more: object) => {
    const sae = { architecture: 'topk', d_in: 64, d_sae: 128 };
    return planTraining(parseConfigObject({ dataset_path: 'x', sae, ...more })).memory as MemoryPlan;
  };
  const { weightBytes, bufferBytes, totalBytes } = of({});
  for (const more of [{ n_checkpoints: 1 }, { checkpoint_every: '10min' }]) {
    const copy = 4 * weightBytes + bufferBytes;
    expect(of(more)).toMatchObject({ checkpointBytes: copy, totalBytes: totalBytes + copy });
    expect(of({ ...more, checkpoints_in_background: false }).totalBytes).toBe(totalBytes);
  }
});

// The same table as in test/python/train/test_checkpoints.py: the plan and the trainer follow one rule.
test.each([
  ['v6', 1000, 0, []],
  ['v6', 1000, 3, [250, 500, 750]],
  ['v6', 1000, 6, [143, 286, 429, 572, 715, 858]],
  ['v6', 2, 5, [1]],
  ['v5', 1000, 0, []],
  ['v5', 1000, 1, []],
  ['v5', 1000, 3, [333, 666, 999]],
  ['v5', 384, 6, [64, 128, 192, 256, 320]],
  ['v5', 2, 5, []],
] as const)(
  'thresholds divide the run as their vocabulary does: %s, %i samples, %i checkpoints',
  (vocabulary, total, n, expected) => {
    expect(checkpointThresholds(total, n, vocabulary)).toEqual(expected);
  },
);

const path = join(process.env.SAE_LENS_TS_SHARED ?? '../shared', 'golden/v5/config_v5.json');
test.skipIf(!existsSync(path))('thresholds are those of 5.x in its vocabulary (needs ../shared)', () => {
  const { derived } = JSON.parse(readFileSync(path, 'utf8')) as { derived: Record<string, number[]> };
  for (const [name, thresholds] of Object.entries(derived)) {
    const [, tokens, n] = /^checkpoint_thresholds tokens=(\d+) n=(\d+)$/.exec(name) ?? [];
    if (tokens) expect([name, checkpointThresholds(Number(tokens), Number(n), 'v5')]).toEqual([name, thresholds]);
  }
});

test('the same configuration on the same day has the same name, another has another', () => {
  const name = runName(sample, '2026-11-23');
  expect(name).toMatch(/^2026-11-23-tiny-stories-1L-21M-blocks\.0\.hook_mlp_out-standard-[a-z]+-[a-z]+$/);
  expect(runName({ ...sample }, '2026-11-23')).toBe(name);
  expect(runName({ ...sample, seed: 7 }, '2026-11-23')).not.toBe(name);
  expect(runName({ ...sample, model_name: `../../${'x'.repeat(300)}` }, '2026-11-23')).toMatch(
    /^[A-Za-z0-9._-]{1,128}$/,
  );
});

test('a run from a cache has no language model in its memory, unless evaluations are in one', () => {
  const cached = { use_cached_activations: true, cached_activations_path: 'cache' };
  const sae = { architecture: 'standard', d_in: 8, d_sae: 16 };
  const modelBytes = 1_000;
  const memory = (more: object) => planTraining(parseConfigObject({ sae, ...more }), { modelBytes }).memory;
  expect(memory(cached)?.modelBytes).toBe(0);
  expect(memory({ ...cached, dataset_path: 'x' })?.modelBytes).toBe(modelBytes);
  expect(memory({ dataset_path: 'x' })?.modelBytes).toBe(modelBytes);
});

test('several SAEs need their weights together, one buffer, and one after the other the memory of a step', () => {
  const sae = { architecture: 'topk', d_in: 64, d_sae: 256, k: 8 };
  const run = { dataset_path: 'text', n_checkpoints: 2, logger: { log_to_wandb: false } };
  const of = (value: object) => planTraining(parseConfigObject({ ...run, ...value }));
  const [small, wide] = [of({ sae }), of({ sae: { ...sae, d_sae: 1024 }, lr_warm_up_steps: 10 })];
  const both = of({ sae, saes: { small: {}, wide: { d_sae: 1024, lr_warm_up_steps: 10 } } });
  expect(both.saes).toEqual({ small, wide });
  const [a, b, all] = [small.memory, wide.memory, both.memory].map((memory) => memory as NonNullable<typeof memory>);
  for (const part of ['weightBytes', 'gradientBytes', 'optimizerBytes'] as const) {
    expect(all?.[part]).toBe((a?.[part] ?? 0) + (b?.[part] ?? 0));
  }
  expect([all?.bufferBytes, all?.latentBytes]).toEqual([a?.bufferBytes, b?.latentBytes]);
  expect(all?.checkpointBytes).toBe(4 * (all?.weightBytes ?? 0) + (all?.bufferBytes ?? 0));
  expect(both.disk.savedBytes).toBe((small.disk.savedBytes ?? 0) + (wide.disk.savedBytes ?? 0));
  expect(both.disk.totalBytes).toBe(small.disk.totalBytes + wide.disk.totalBytes);
  expect(runName(parseConfigObject({ ...run, sae, saes: { a: {}, b: {} } }), '2026-11-24')).toContain('-2-saes-');
});
