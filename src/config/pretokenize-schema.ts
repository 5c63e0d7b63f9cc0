import { z } from 'zod';
import { count, option, positiveInt } from './option.ts';
import { hubShape, insertedToken } from './shared-shapes.ts';

const dataShape = {
  tokenizer_name: option(z.string().min(1).default('gpt2'), {
    description: 'Tokenizer: a Hugging Face name, a folder, or bundled:NAME.',
  }),
  dataset_path: option(z.string().min(1, 'must name a dataset'), {
    description: 'Dataset of texts: a Hugging Face name, a local folder or file, or bundled:NAME.',
  }),
  dataset_name: option(z.string().nullable().default(null), { description: 'Configuration of the dataset.' }),
  dataset_trust_remote_code: option(z.boolean().default(false), {
    description: 'Allow code that comes with the dataset to run here.',
  }),
  split: option(z.string().min(1).default('train'), { description: 'Split to tokenize.' }),
  data_files: option(
    z
      .union([z.string(), z.array(z.string()).min(1)])
      .nullable()
      .default(null),
    {
      description: 'Files of the dataset to read, when not all.',
    },
  ),
  data_dir: option(z.string().nullable().default(null), { description: 'Folder of the dataset to read.' }),
  column_name: option(z.string().min(1).default('text'), { description: 'Column with the texts.' }),
  use_chat_formatting: option(z.boolean().default(false), {
    description: "Format conversations with the tokenizer's chat template.",
  }),
  streaming: option(z.boolean().default(false), { description: 'Read the dataset without a download first.' }),
  shuffle: option(z.boolean().default(true), { description: 'Shuffle the sequences.' }),
  seed: option(count().nullable().default(42), {
    description: 'Seed of the shuffle; null draws one, and sae_lens.json records it.',
  }),
};

const sequencesShape = {
  context_size: option(positiveInt().default(128), { description: 'Length of the sequences.', unit: 'tokens' }),
  begin_batch_token: option(insertedToken().default('bos'), {
    description: 'Token that begins each sequence: an id, bos, eos, sep or null.',
  }),
  begin_sequence_token: option(insertedToken().default(null), {
    description: 'Token that begins each document: an id, bos, eos, sep or null.',
  }),
  sequence_separator_token: option(insertedToken().default('bos'), {
    description: 'Token between two documents of a sequence: an id, bos, eos, sep or null.',
  }),
  disable_concat_sequences: option(z.boolean().default(false), {
    description: 'One document a sequence; shorter documents are left out.',
  }),
  pretokenize_batch_size: option(positiveInt().default(1000), {
    description: 'Documents tokenized at a time.',
    unit: 'documents',
  }),
  num_proc: option(positiveInt().default(4), { description: 'Processes that tokenize.', unit: 'processes' }),
};

const outputShape = {
  save_path: option(z.string().min(1).nullable().default(null), {
    description: 'Folder of the tokenized dataset; it must be new, empty, or the same work interrupted.',
  }),
  ...hubShape(64),
};

/** Options of `pretokenize` by group, in the order in which they are shown and cross to the worker. */
export const pretokenizeShapes = { Data: dataShape, Sequences: sequencesShape, Output: outputShape };

export const pretokenizeSchema = z.strictObject({ ...dataShape, ...sequencesShape, ...outputShape });
