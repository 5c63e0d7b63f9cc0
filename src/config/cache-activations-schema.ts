import { z } from 'zod';
import { option, positive, positiveInt } from './option.ts';
import { runnerShape } from './runner-schema.ts';
import { hubShape } from './shared-shapes.ts';

// What training has too is the same option, so that a cache and the run that reads it are told alike.
const modelShape = {
  model_name: option(z.string().min(1, 'must name a model'), {
    description: 'Language model: a name TransformerLens or Hugging Face knows, a folder, or bundled:NAME.',
  }),
  model_class_name: runnerShape.model_class_name,
  hook_name: option(z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]), {
    description: 'Hook point, or a list of them: all are read in one pass of the model.',
  }),
  d_in: option(positiveInt().nullable().default(null), {
    description: 'Width of the activations, checked against the model.',
    unit: 'numbers',
  }),
  model_kwargs: runnerShape.model_kwargs,
  model_from_pretrained_kwargs: runnerShape.model_from_pretrained_kwargs,
};

const dataShape = {
  dataset_path: option(z.string().min(1, 'must name a dataset'), {
    description: 'Dataset: a Hugging Face name, a local folder or file, or bundled:NAME.',
  }),
  dataset_name: runnerShape.dataset_name,
  dataset_split: runnerShape.dataset_split,
  dataset_column: runnerShape.dataset_column,
  dataset_trust_remote_code: runnerShape.dataset_trust_remote_code,
  streaming: runnerShape.streaming,
  is_dataset_tokenized: runnerShape.is_dataset_tokenized,
  use_chat_formatting: runnerShape.use_chat_formatting,
  context_size: option(
    z
      .int()
      .refine((length) => length === -1 || length > 0, 'must be -1 or a length')
      .default(-1),
    {
      description: 'Length of the sequences the model reads; -1 takes that of the first tokenized row.',
      unit: 'tokens',
    },
  ),
  prepend_bos: runnerShape.prepend_bos,
  disable_concat_sequences: runnerShape.disable_concat_sequences,
  sequence_separator_token: runnerShape.sequence_separator_token,
  seqpos_slice: option(z.array(z.int().nullable()).min(1).max(3).default([null]), {
    description: 'Positions to keep, as the arguments of a Python slice.',
    unit: 'tokens',
  }),
  training_tokens: option(positiveInt(), {
    description: 'Tokens whose activations are kept.',
    unit: 'tokens',
  }),
  shuffle: option(z.boolean().default(true), { description: 'Shuffle the sequences on disk.' }),
  seed: option(runnerShape.seed, { description: 'Seed of the shuffle.' }),
};

const deviceShape = {
  model_batch_size: option(positiveInt(), {
    description: 'Sequences in one forward pass of the language model.',
    unit: 'prompts',
  }),
  device: option(runnerShape.device, { description: 'Device of the language model: auto, cpu, mps, cuda or cuda:N.' }),
  dtype: option(z.enum(['float32', 'bfloat16', 'float16']).default('float32').meta({ title: 'CacheDtype' }), {
    description: 'Number type of the activations on disk.',
  }),
  autocast_lm: runnerShape.autocast_lm,
  compile_llm: runnerShape.compile_llm,
  llm_compilation_mode: runnerShape.llm_compilation_mode,
  n_threads: runnerShape.n_threads,
};

const outputShape = {
  new_cached_activations_path: option(z.string().min(1).nullable().default(null), {
    description: 'Folder of the cache; it must be new, empty, or the same work interrupted.',
    computed: 'activations/DATASET/MODEL/HOOK',
    filled: true,
  }),
  buffer_size_gb: option(positive().default(2), { description: 'Largest size of one file of the cache.', unit: 'GB' }),
  ...hubShape(null),
  hf_num_shards: option(positiveInt().nullable().default(null), {
    description: 'Files of the cache, here and on the hub; null has as few as buffer_size_gb allows.',
    unit: 'files',
  }),
};

/** Options of `cache-activations` by group, in the order in which they are shown and cross to the worker. */
export const cacheActivationsShapes = {
  'Language model': modelShape,
  Data: dataShape,
  'Devices and numerics': deviceShape,
  Output: outputShape,
};

export const cacheActivationsSchema = z.strictObject({ ...modelShape, ...dataShape, ...deviceShape, ...outputShape });
