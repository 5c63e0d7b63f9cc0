import { expect, test } from 'vitest';
import { hooksText, matchingHooks } from '../../../src/cli/hooks-text.ts';

const hooks = [
  { name: 'hook_embed', shape: [2, 7, 64], d_in: 64 },
  ...[0, 1, 2].flatMap((layer) => [
    { name: `blocks.${layer}.hook_resid_pre`, shape: [2, 7, 64], d_in: 64 },
    { name: `blocks.${layer}.attn.hook_pattern`, shape: [2, 8, 7, 7], d_in: null },
    { name: `blocks.${layer}.mlp.hook_post`, shape: [2, 7, layer === 1 ? 128 : 256], d_in: layer === 1 ? 128 : 256 },
  ]),
  { name: 'rotary.hook_cos', shape: [1, 7, 8], d_in: null },
];

test('layers that are alike share a row, in the order of the model', () => {
  expect(hooksText(hooks, false)).toBe(
    `hook point                      shape                 d_in
hook_embed                      [batch, pos, 64]        64
blocks.{0…2}.hook_resid_pre     [batch, pos, 64]        64
blocks.{0…2}.attn.hook_pattern  [batch, 8, pos, pos]     -
blocks.{0,2}.mlp.hook_post      [batch, pos, 256]      256
blocks.1.mlp.hook_post          [batch, pos, 128]      128
rotary.hook_cos                 [1, pos, 8]              -
`,
  );
});

test('all of them have a row each when that is asked', () => {
  const lines = hooksText(hooks, true).trimEnd().split('\n');
  expect(lines).toHaveLength(hooks.length + 1);
  expect(lines[2]).toMatch(/^blocks\.0\.hook_resid_pre +\[batch, pos, 64\] +64$/);
});

test('a pattern is a part of the name, a dot is a dot and a star is anything', () => {
  const names = (pattern: string) => matchingHooks(hooks, pattern).map(({ name }) => name);
  expect(names('RESID')).toEqual(['blocks.0.hook_resid_pre', 'blocks.1.hook_resid_pre', 'blocks.2.hook_resid_pre']);
  expect(names('blocks.1.*hook_p')).toEqual(['blocks.1.attn.hook_pattern', 'blocks.1.mlp.hook_post']);
  expect(names('h.ok')).toEqual([]);
});
