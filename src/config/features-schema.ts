import { z } from 'zod';
import { deviceShape, dataShape as evalData, modelShape } from './evals-schema.ts';
import { count, option, positiveInt } from './option.ts';

const { dataset_path, dataset_split, context_size, exclude_special_tokens } = evalData;

const dataShape = {
  n_tokens: option(positiveInt().default(1_000_000), {
    description: 'Tokens to read, in whole sequences; fewer where the dataset has fewer.',
    unit: 'tokens',
  }),
  dataset_path,
  dataset_split,
  context_size,
  exclude_special_tokens,
  batch_size_prompts: option(positiveInt().nullable().default(null), {
    description: 'Sequences in a batch; null for eval_batch_size_prompts of the run, or 16.',
    unit: 'prompts',
  }),
};

const latentsShape = {
  latents: option(
    z
      .string()
      .regex(/^(all|\d+(-\d+)?(,\d+(-\d+)?)*)$/, 'is no list of latents')
      .default('all'),
    { description: 'Latents to look at, such as 0-99,200, or all.' },
  ),
  top_acts_group_size: option(positiveInt().default(15), {
    description: 'Sequences shown in which a latent is most active.',
    unit: 'examples',
  }),
  n_quantiles: option(positiveInt().default(5), {
    description: 'Ranges of activation from which examples are drawn: half an octave each, the last all below.',
    unit: 'ranges',
  }),
  quantile_group_size: option(positiveInt().default(5), {
    description: 'Examples drawn from each range.',
    unit: 'examples',
  }),
  buffer: option(z.array(count()).min(1).max(2).default([24, 12]), {
    description: 'Tokens shown before and after the peak of an example; one number for both.',
    unit: 'tokens',
  }),
  seed: option(count().default(42), { description: 'Decides which examples are drawn.' }),
};

/** Options of `features` by group, in the order in which they are shown and cross to the worker. */
export const featuresShapes = {
  Latents: latentsShape,
  Data: dataShape,
  'Language model': modelShape,
  Devices: deviceShape,
};

export const featuresSchema = z.strictObject({ ...latentsShape, ...dataShape, ...modelShape, ...deviceShape });
