import { expect, test } from 'vitest';
import { adviceFor, type Observed } from '../../../src/dashboard/advice.ts';
import { Series } from '../../../src/dashboard/series.ts';
import type { Advice } from '../../../src/dashboard/shown.ts';

const CONFIG = {
  'sae.architecture': 'topk',
  'sae.k': 32,
  lr: 3e-4,
  n_batches_in_buffer: 64,
  store_batch_size_prompts: 32,
  context_size: 128,
  train_batch_size_tokens: 4096,
};

/** Advice for lines of a hundred rows, each given by the share of the run that is done. */
function advise(lines: Record<string, (done: number) => number>, more: Partial<Observed> = {}): Advice[] {
  const series = new Map(
    Object.entries(lines).map(([key, at]) => {
      const line = new Series();
      for (let i = 0; i < 100; i++) line.push(10 * i, at(i / 99));
      return [key, line] as const;
    }),
  );
  const sizes = { dIn: 768, dSae: 1000, totalSteps: 1000, notFinite: { count: 0, step: null } };
  return adviceFor({ config: CONFIG, ...sizes, series, ...more });
}
const rules = (advice: Advice[]): string[] => advice.map(({ rule }) => rule);
const falling = (done: number): number => 10 * Math.exp(-3 * done);

test('of a run that goes well nothing is said', () => {
  const lines = {
    'losses/overall_loss': falling,
    'metrics/l0': () => 32,
    'metrics/explained_variance': (done: number) => 1 - Math.exp(-3 * done),
    'sparsity/dead_features': () => 10,
    'model_performance_preservation/ce_loss_score': () => 0.95,
    'system/lm_share': () => 0.3,
    'system/data_share': () => 0.1,
  };
  expect(advise(lines)).toEqual([]);
});

test('dead latents: from more than a fifth on, with the numbers', () => {
  expect(advise({ 'sparsity/dead_features': () => 200 })).toEqual([]);
  const [advice] = advise({ 'sparsity/dead_features': () => 310 });
  expect(advice).toMatchObject({ rule: 'dead_latents', level: 'warning' });
  expect(advice?.seen).toContain('310 of 1000 latents are dead (31.0 %)');
  expect(advice?.try).toContain('aux_loss_coefficient');
});

test('L0 that has not settled, where the configuration does not set it', () => {
  const drift = { 'metrics/l0': (done: number) => (done < 0.9 ? 100 : 60) };
  expect(advise(drift)).toEqual([]);
  const [advice] = advise(drift, { config: { ...CONFIG, 'sae.architecture': 'jumprelu' } });
  expect(advice).toMatchObject({ rule: 'l0_drift', seen: expect.stringContaining('from 100 to 60 (-40.0 %)') });
});

test('latents that are hardly sparse', () => {
  expect(rules(advise({ 'metrics/l0': () => 400 }))).toEqual(['l0_dense']);
});

test('spikes of the loss: the highest, its step and how often its median', () => {
  const [advice] = advise({ 'losses/overall_loss': (done) => (Math.abs(done - 70 / 99) < 0.001 ? 40 : 2) });
  expect(advice).toMatchObject({
    rule: 'loss_spikes',
    seen: expect.stringContaining('40 at step 700, 20 times its median 2'),
  });
});

test('a loss that rises again', () => {
  expect(rules(advise({ 'losses/overall_loss': (done) => 1 + 4 * Math.abs(done - 0.4) }))).toEqual(['loss_rises']);
});

test('explained variance that is poor, or stands still while much is left', () => {
  expect(rules(advise({ 'metrics/explained_variance': () => 0.2, 'losses/overall_loss': falling }))).toEqual([
    'variance_poor',
  ]);
  const flat = { 'metrics/explained_variance': () => 0.9, 'losses/overall_loss': falling };
  expect(rules(advise(flat, { totalSteps: 4000 }))).toEqual(['variance_flat']);
});

test('a model that loses what the layer did', () => {
  expect(rules(advise({ 'model_performance_preservation/ce_loss_score': () => 0.7 }))).toEqual(['behaviour_lost']);
});

test('a buffer of few texts, unless a cache was shuffled already', () => {
  const config = { ...CONFIG, n_batches_in_buffer: 2 };
  expect(advise({}, { config })[0]).toMatchObject({
    rule: 'buffer_small',
    seen: expect.stringContaining('64 sequences, 2 training batches'),
  });
  expect(advise({}, { config: { ...config, use_cached_activations: true } })).toEqual([]);
});

test('time that goes into activations, and values that are no numbers; warnings come first', () => {
  const shares = { 'system/lm_share': () => 0.7, 'system/data_share': () => 0.1 };
  expect(rules(advise(shares, { notFinite: { count: 3, step: 70 } }))).toEqual(['not_finite', 'waits_for_activations']);
});
