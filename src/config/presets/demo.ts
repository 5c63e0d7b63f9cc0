import type { Preset } from './preset.ts';

/** A real SAE on the bundled model and text, in minutes on a laptop's CPU. */
export const demo: Preset = {
  description: 'A top-k SAE on the bundled model and text: no network, minutes on a CPU',
  config: {
    model_name: 'bundled:smollm2-135m',
    hook_name: 'blocks.1.hook_resid_post',
    dataset_path: 'bundled:english',
    streaming: false,
    sae: { architecture: 'topk', k: 32, expansion_factor: 4, normalize_activations: 'expected_average_only_in' },
    lr: 1e-3,
    lr_warm_up_steps: 20,
    lr_decay_steps: 40,
    context_size: 128,
    n_batches_in_buffer: 16,
    store_batch_size_prompts: 8,
    train_batch_size_tokens: 1024,
    training_tokens: 204_800,
    n_batches_for_norm_estimate: 10,
    dead_feature_window: 50,
    feature_sampling_window: 50,
    n_eval_batches: 2,
    logger: { log_to_wandb: false, eval_every_n_wandb_logs: 5 },
    device: 'auto',
  },
};
