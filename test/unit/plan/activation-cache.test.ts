import { expect, it } from 'vitest';
import { CacheActivationsRunnerConfig } from '../../../src/config/index.ts';
import { planCache } from '../../../src/plan/activation-cache.ts';

const given = {
  model_name: 'gpt2',
  hook_name: 'h',
  d_in: 768,
  dataset_path: 'd',
  context_size: 128,
  model_batch_size: 32,
  training_tokens: 1_000_000,
};
const plan = (more: object) => planCache(new CacheActivationsRunnerConfig({ ...given, ...more }));

it('a cache has whole sequences, at least as many tokens as asked, and files no larger than asked', () => {
  const { nSequences, nTokens, totalBytes, nFiles } = plan({});
  expect({ nSequences, nTokens, nFiles }).toEqual({ nSequences: 7813, nTokens: 1_000_064, nFiles: 2 });
  // 768 numbers of 4 bytes, and a little beside them
  expect((totalBytes as number) / (1_000_064 * 768 * 4)).toBeCloseTo(1.003, 2);
});

it.each([
  [{ dtype: 'float16' }, 0.5],
  [{ dtype: 'bfloat16' }, 1],
  [{ hook_name: ['a', 'b', 'c'] }, 3],
  [{ seqpos_slice: [0, 64] }, 1],
])('%j takes %d times the room', (more, times) => {
  expect((plan(more).totalBytes as number) / (plan({}).totalBytes as number)).toBeCloseTo(times, 1);
});

it('what only the model or the dataset tells is open', () => {
  expect(plan({ d_in: null })).toMatchObject({ nSequences: 7813, totalBytes: null, nFiles: null });
  expect(plan({ context_size: -1 })).toMatchObject({ context: null, nSequences: null, totalBytes: null });
});
