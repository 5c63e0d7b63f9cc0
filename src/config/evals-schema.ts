import { z } from 'zod';
import { count, device, option, positiveInt } from './option.ts';

export const modelShape = {
  model_name: option(z.string().min(1).nullable().default(null), {
    description: 'Language model, where it is not the one the SAE says it was made for.',
  }),
  model_class_name: option(z.enum(['HookedTransformer', 'AutoModelForCausalLM']).nullable().default(null), {
    description: 'How the language model is loaded, where it is not as the SAE says.',
  }),
  hook_name: option(z.string().min(1).nullable().default(null), {
    description: 'Where the SAE takes its activations, where it does not say so.',
  }),
};

export const dataShape = {
  dataset_path: option(z.string().min(1).nullable().default(null), {
    description: "Text to evaluate on: a Hugging Face name, a folder, a file, or bundled:NAME; null for the run's own.",
  }),
  dataset_split: option(z.string().min(1).nullable().default(null), {
    description: 'Split of dataset_path; null for train.',
  }),
  context_size: option(positiveInt().nullable().default(null), {
    description: 'Length of the sequences; null for that of the training.',
    unit: 'tokens',
  }),
  exclude_special_tokens: option(
    z
      .union([z.boolean(), z.array(count())])
      .nullable()
      .default(null),
    { description: 'Leave these token ids out, or all special ones; null for what the training left out.' },
  ),
  seed: option(count().nullable().default(null), {
    description: 'Draw the sequences at random, by this seed; null takes the first ones.',
  }),
};

const batchesShape = {
  batch_size_prompts: option(positiveInt().nullable().default(null), {
    description: 'Sequences in a batch; null for eval_batch_size_prompts of the run, or 16.',
    unit: 'prompts',
  }),
  n_eval_reconstruction_batches: option(positiveInt().nullable().default(null), {
    description: 'Batches for cross entropy and KL; null for n_eval_batches of the run, or 10.',
    unit: 'batches',
  }),
  n_eval_sparsity_variance_batches: option(positiveInt().nullable().default(null), {
    description: 'Batches for all other metrics; null for as many as n_eval_reconstruction_batches.',
    unit: 'batches',
  }),
};

const computed = (what: string, initial = true) =>
  option(z.boolean().default(initial), { description: `Compute ${what}.` });

const metricsShape = {
  metrics: option(z.array(z.string().min(1)).min(1).nullable().default(null), {
    description: 'Only these metrics, by group or by name; null for all that are computed.',
  }),
  compute_kl: computed('the KL divergence to the model without SAE'),
  compute_ce_loss: computed('cross entropy with SAE, without, and with zeros in its place'),
  compute_l2_norms: computed('norms of activations and reconstructions'),
  compute_sparsity_metrics: computed('L0 and L1'),
  compute_variance_metrics: computed('explained variance, mean squared error and cosine similarity'),
  compute_featurewise_density_statistics: computed('how often each latent fires'),
  compute_featurewise_weight_based_metrics: computed('norms and similarities of the latents by their weights', false),
};

export const deviceShape = {
  device: option(device().default('auto'), { description: 'Device of the language model and the SAEs.' }),
};

/** Options of `eval` by group, in the order in which they are shown and cross to the worker. */
export const evalShapes = {
  Metrics: metricsShape,
  Data: dataShape,
  Batches: batchesShape,
  'Language model': modelShape,
  Devices: deviceShape,
};

export const evalSchema = z.strictObject({
  ...metricsShape,
  ...dataShape,
  ...batchesShape,
  ...modelShape,
  ...deviceShape,
});
