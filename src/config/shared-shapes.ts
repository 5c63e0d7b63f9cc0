import { z } from 'zod';
import { count, option, positiveInt } from './option.ts';

/** A token that a runner inserts, by id or by role. */
export const insertedToken = () =>
  z.union([count(), z.enum(['bos', 'eos', 'sep'])], 'must be a token id, bos, eos, sep or null').nullable();

/** Where a runner pushes the dataset it makes. */
export const hubShape = (shards: number | null) => ({
  hf_repo_id: option(z.string().min(1).nullable().default(null), {
    description: 'Dataset repository to push to: user/name.',
  }),
  hf_num_shards: option(positiveInt().nullable().default(shards), {
    description: 'Files of the dataset on the hub; null takes those on disk.',
    unit: 'files',
  }),
  hf_revision: option(z.string().min(1).default('main'), { description: 'Branch to push to.' }),
  hf_is_private_repo: option(z.boolean().default(false), { description: 'Make the repository private.' }),
});
