import { z } from 'zod';
import { option, positiveInt } from './option.ts';

export const loggingShape = {
  log_to_wandb: option(z.boolean().default(true), { description: 'Send metrics to Weights & Biases.' }),
  log_activations_store_to_wandb: option(z.boolean().default(false), {
    description: 'Add the state of the activation store to the W&B artifact of each checkpoint.',
  }),
  log_optimizer_state_to_wandb: option(z.boolean().default(false), {
    description: 'Add the state of the optimizer to the W&B artifact of each checkpoint.',
  }),
  log_weights_to_wandb: option(z.boolean().default(true), {
    description: 'Add the weights to the W&B artifact of each checkpoint.',
  }),
  wandb_project: option(z.string().default('sae_lens_training'), {
    description: 'W&B project.',
    v5: 'mats_sae_training_language_model',
  }),
  wandb_id: option(z.string().nullable().default(null), { description: 'W&B run id.' }),
  run_name: option(z.string().nullable().default(null), {
    description: 'Name of the run in W&B.',
    computed: 'architecture, latents, lr and tokens',
  }),
  wandb_entity: option(z.string().nullable().default(null), { description: 'W&B user or team.' }),
  wandb_log_frequency: option(positiveInt().default(10), {
    description: 'Steps between two rows of metrics, with or without W&B.',
    unit: 'steps',
  }),
  eval_every_n_wandb_logs: option(positiveInt().default(100), {
    description: 'Rows of metrics between two evaluations.',
    unit: 'rows',
  }),
};

export const loggingSchema = z.strictObject(loggingShape);
