import { expect, test } from 'vitest';
import {
  LanguageModelSAERunnerConfig,
  parseConfigObject,
  StandardTrainingSAEConfig,
} from '../../../src/config/index.ts';
import { PRESETS, presetLayer } from '../../../src/config/presets/index.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';

// The sample of the page "Training Sparse Autoencoders", line by line, as TypeScript.
const total_training_steps = 30_000;
const batch_size = 4096;
const total_training_tokens = total_training_steps * batch_size;
const lr_warm_up_steps = 0;
const lr_decay_steps = Math.floor(total_training_steps / 5);
const l1_warm_up_steps = Math.floor(total_training_steps / 20);
const device = process.env.SAMPLE_DEVICE ?? 'cpu';

const sample = () =>
  new LanguageModelSAERunnerConfig({
    model_name: 'tiny-stories-1L-21M',
    hook_name: 'blocks.0.hook_mlp_out',
    hook_layer: 0,
    dataset_path: 'apollo-research/roneneldan-TinyStories-tokenizer-gpt2',
    is_dataset_tokenized: true,
    streaming: true,
    sae: new StandardTrainingSAEConfig({
      d_in: 1024,
      expansion_factor: 16,
      b_dec_init_method: 'zeros',
      apply_b_dec_to_input: false,
      normalize_sae_decoder: false,
      scale_sparsity_penalty_by_decoder_norm: true,
      decoder_heuristic_init: true,
      init_encoder_as_decoder_transpose: true,
      normalize_activations: 'expected_average_only_in',
      mse_loss_normalization: null,
      l1_coefficient: 5,
      lp_norm: 1.0,
      l1_warm_up_steps,
    }),
    lr: 5e-5,
    adam_beta1: 0.9,
    adam_beta2: 0.999,
    lr_scheduler_name: 'constant',
    lr_warm_up_steps,
    lr_decay_steps,
    train_batch_size_tokens: batch_size,
    context_size: 256,
    n_batches_in_buffer: 64,
    training_tokens: total_training_tokens,
    store_batch_size_prompts: 16,
    use_ghost_grads: false,
    feature_sampling_window: 1000,
    dead_feature_window: 1000,
    dead_feature_threshold: 1e-4,
    logger_cfg: {
      log_to_wandb: true,
      wandb_project: 'sae_lens_tutorial',
      wandb_log_frequency: 30,
      eval_every_n_wandb_logs: 20,
    },
    device,
    seed: 42,
    n_checkpoints: 0,
    checkpoint_path: 'checkpoints',
    dtype: 'float32',
  });

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
