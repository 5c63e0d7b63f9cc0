import { z } from 'zod';
import { saeOptions } from './keys.ts';
import { metaOf, option } from './option.ts';
import { runnerShape } from './runner-schema.ts';
import { ARCHITECTURES } from './sae-schema.ts';

/** Options of training that each of several SAEs may have for itself. */
export const OWN_TRAINING = [
  'lr',
  'lr_end',
  'lr_scheduler_name',
  'lr_warm_up_steps',
  'lr_decay_steps',
  'n_restart_cycles',
  'adam_beta1',
  'adam_beta2',
  'adam_epsilon',
  'max_grad_norm',
  'dead_feature_window',
  'feature_sampling_window',
  'dead_feature_threshold',
  'from_pretrained_path',
] as const;
export type OwnTraining = (typeof OWN_TRAINING)[number];

/** Options of an SAE that all SAEs of a run have in common, each with the reason. */
export const SHARED_SAE = {
  vocabulary: 'it decides when checkpoints are written',
  d_in: 'they are trained on the same activations',
  reshape_activations: 'they are trained on the same activations',
  dtype: 'their batches are of one number type',
  device: 'their batches lie on one device',
} as const;
export type SharedSae = keyof typeof SHARED_SAE;

/** A name becomes a folder, a part of metric names and a word on command lines; a file of an SAE it may not look like. */
export const SAE_NAME = /^(?!.*\.(json|safetensors)$)[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;

/** The same option, but without a default: what is not said is the run's. */
function optional(schema: z.ZodType): z.ZodType {
  const { v5: _v5, ...meta } = metaOf(schema);
  return option((schema instanceof z.ZodDefault ? (schema.unwrap() as z.ZodType) : schema).optional(), meta);
}

const ownShape = Object.fromEntries(
  [
    ...Object.entries(saeOptions).filter(([key]) => !(key in SHARED_SAE)),
    ...OWN_TRAINING.map((key) => [key, runnerShape[key]] as const),
  ].map(([key, schema]) => [key, optional(schema)]),
);

/** What one of several SAEs may say. Which options go together is judged once it is laid over those of the run. */
export const saesSchema = option(
  z
    .record(z.string().regex(SAE_NAME), z.strictObject({ architecture: z.enum(ARCHITECTURES).optional(), ...ownShape }))
    .optional(),
  {
    description:
      'Several SAEs on one pass of the language model, by name: {wide: {d_sae: 4096, k: 64}, fast: {lr: 1e-3}}. Each has the ' +
      'options of sae and of training, changed by its own. In a file a group, as a flag JSON.',
  },
);
