import type { Preset } from './preset.ts';

const TOTAL_STEPS = 30_000;
const BATCH_TOKENS = 4096;

/** The sample run of SAELens' page "Training Sparse Autoencoders". */
export const tinyStories1L21M: Preset = {
  description: 'The sample run of the SAELens documentation: a standard SAE on tiny-stories-1L-21M',
  config: {
    model_name: 'tiny-stories-1L-21M',
    hook_name: 'blocks.0.hook_mlp_out',
    hook_layer: 0,
    dataset_path: 'apollo-research/roneneldan-TinyStories-tokenizer-gpt2',
    is_dataset_tokenized: true,
    streaming: true,
    sae: {
      architecture: 'standard',
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
      lp_norm: 1,
      l1_warm_up_steps: TOTAL_STEPS / 20,
      use_ghost_grads: false,
    },
    lr: 5e-5,
    adam_beta1: 0.9,
    adam_beta2: 0.999,
    lr_scheduler_name: 'constant',
    lr_warm_up_steps: 0,
    lr_decay_steps: TOTAL_STEPS / 5,
    train_batch_size_tokens: BATCH_TOKENS,
    context_size: 256,
    n_batches_in_buffer: 64,
    training_tokens: TOTAL_STEPS * BATCH_TOKENS,
    store_batch_size_prompts: 16,
    feature_sampling_window: 1000,
    dead_feature_window: 1000,
    dead_feature_threshold: 1e-4,
    logger: {
      log_to_wandb: true,
      wandb_project: 'sae_lens_tutorial',
      wandb_log_frequency: 30,
      eval_every_n_wandb_logs: 20,
    },
    device: 'auto',
    seed: 42,
    n_checkpoints: 0,
    checkpoint_path: 'checkpoints',
    dtype: 'float32',
  },
};
