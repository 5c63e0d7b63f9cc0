import type { Preset } from './preset.ts';

/** A real SAE on the bundled model and text, in minutes on a laptop's CPU. */
export const demo: Preset = {
  description: 'A top-k SAE on the bundled model and text: no account, no model hub, minutes on a CPU',
  config: {
    model_name: 'bundled:smollm2-135m',
    model_class_name: 'AutoModelForCausalLM',
    hook_name: 'model.layers.4',
    dataset_path: 'bundled:english',
    streaming: false,
    exclude_special_tokens: true,
    sae: {
      architecture: 'topk',
      d_in: 576,
      d_sae: 2304,
      k: 48,
      aux_loss_coefficient: 0.03125,
      normalize_activations: 'expected_average_only_in',
    },
    lr: 3e-3,
    lr_warm_up_steps: 25,
    lr_decay_steps: 100,
    context_size: 256,
    n_batches_in_buffer: 8,
    store_batch_size_prompts: 8,
    train_batch_size_tokens: 512,
    training_tokens: 256_000,
    n_batches_for_norm_estimate: 4,
    dead_feature_window: 100,
    feature_sampling_window: 100,
    n_eval_batches: 1,
    eval_batch_size_prompts: 4,
    logger: { log_to_wandb: false, eval_every_n_wandb_logs: 25 },
    device: 'auto',
  },
  why: {
    exclude_special_tokens: 'the first token of these models has massive activations, which say nothing about language',
    'sae.aux_loss_coefficient':
      '1/32 as Gao et al. (arXiv 2406.04093); 1 makes the loss jump when the first latents count as dead',
    n_eval_batches: 'an evaluation runs all thirty layers several times: small and seldom, or it outlasts the training',
    'logger.log_to_wandb': 'no account is needed; the metrics are in the folder of the run',
  },
};
