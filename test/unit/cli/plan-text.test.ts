import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { planText } from '../../../src/cli/plan-text.ts';
import { parseConfigObject } from '../../../src/config/index.ts';
import { previewTraining } from '../../../src/runners/training-preview.ts';

const planOf = (sae: object, rest: object = {}) => {
  const config = parseConfigObject({ dataset_path: 'text', hook_name: 'hook', sae, ...rest }, () => {});
  return planText(config, previewTraining(config, join(tmpdir(), 'no-runs')));
};

test.each([
  [{ architecture: 'topk', k: 4, d_in: 64 }, 'topk k=4 · 64 → 256 latents'],
  [{ architecture: 'batchtopk', k: 3.5, d_in: 64 }, 'batchtopk k=3.5 · 64 → 256 latents'],
  [{ architecture: 'gated', d_sae: 1024 }, 'gated · d_in of the model → 1 024 latents'],
])('the plan names the architecture of %j and its k', (sae, text) => {
  expect(planOf(sae)).toContain(text);
});

test('the plan says that its total is without the model where the size of that is not known', () => {
  expect(planOf({ architecture: 'topk', k: 4, d_in: 64 })).toMatch(/^ memory .* total \S+ \S+ and the model, whose/m);
});
