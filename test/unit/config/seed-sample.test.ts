import { expect, test } from 'vitest';
import { parseConfigObject } from '../../../src/config/index.ts';
import { PRESETS, presetLayer } from '../../../src/config/presets/index.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import { sample } from '../../fixtures/seed-sample.ts';

test('the sample of the documentation is a valid configuration', () => {
  const cfg = sample();
  expect(cfg.sae).toMatchObject({ architecture: 'standard', vocabulary: 'v6', d_in: 1024, d_sae: 16384 });
  expect(cfg.sae.decoder_init_norm).toBeNull();
  expect(cfg.sae.dtype).toBe('float32');
  expect(cfg.lr_end).toBeCloseTo(5e-6, 12);
  expect(cfg.logger.wandb_project).toBe('sae_lens_tutorial');
  expect(cfg.logger.run_name).toBe('standard-16384-LR-5e-05-Tokens-1.229e+08');
  expect(cfg.model_from_pretrained_kwargs).toEqual({ center_writing_weights: false });
  expect(cfg.eval_batch_size_prompts).toBe(16);
});

test('the preset tiny-stories-1L-21M is the sample', () => {
  const preset = resolveConfig([presetLayer('tiny-stories-1L-21M')]).config;
  const cfg = { ...sample(), device: 'auto', llm_device: 'auto', act_store_device: 'auto' };
  expect(preset).toEqual({ ...cfg, sae: { ...cfg.sae, device: 'auto' } });
});

test.each(Object.keys(PRESETS))('the preset %s resolves, and its resolved form resolves to itself', (name) => {
  const { config } = resolveConfig([presetLayer(name)]);
  expect(parseConfigObject(JSON.parse(JSON.stringify(config)))).toEqual(config);
});
