import { expect, test } from 'vitest';
import { resolveConfig } from '../../../src/config/index.ts';

const noticesOf = (sae: object, training_tokens: number) =>
  resolveConfig([{ kind: 'object', source: 'o', value: { dataset_path: 'text', training_tokens, sae } }]).notices;

test('a threshold that cannot arrive in the steps of the run is told, with a rate that does', () => {
  const sae = { architecture: 'batchtopk', k: 8 };
  const [line] = noticesOf(sae, 98 * 4096);
  expect(line).toContain('topk_threshold_lr = 0.01: in 98 steps the threshold goes 62 % of its way');
  const rate = Number(/use (\S+) or more/.exec(line as string)?.[1]);
  expect(noticesOf({ ...sae, topk_threshold_lr: rate }, 98 * 4096)).toEqual([]);
  expect(noticesOf(sae, 500 * 4096)).toEqual([]);
});
