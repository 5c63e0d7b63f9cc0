import { expect, test } from 'vitest';
import { byNearness, nearest } from '../../src/nearest.ts';

test.each([
  ['misspelled', 'contxt_size', 'context_size'],
  ['with the other dash and case', 'D-Sae', 'd_sae'],
  ['the first word of a longer name, which by its letters is far', 'context', 'context_size'],
  ['like nothing', 'wandb_project', undefined],
])('a word that is %s means what is close, and nothing else', (_, word, meant) => {
  expect(nearest(word, ['d_in', 'd_sae', 'context_size'])).toBe(meant);
});

test('names are put in the order of how little must be changed, whatever their case', () => {
  expect(byNearness('smolm2-135M', ['stories260k', 'SmolLM2-135M', 'smollm3-3b'])).toEqual([
    'SmolLM2-135M',
    'smollm3-3b',
    'stories260k',
  ]);
});
