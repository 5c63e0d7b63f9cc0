import type { z } from 'zod';
import type { cacheActivationsSchema } from './cache-activations-schema.ts';
import type { pretokenizeSchema } from './pretokenize-schema.ts';
import type { Problem } from './problem.ts';
import { slicedContextSize } from './rules-quantity.ts';

/** A rule about several options of a runner with flat options; `isSet` tells whether a layer set one. */
export type OptionsRule<Options> = (options: Options, isSet: (key: string) => boolean) => Problem | undefined;

type Pretokenize = z.output<typeof pretokenizeSchema>;
type CacheActivations = z.output<typeof cacheActivationsSchema>;

const HUB_ONLY = ['hf_revision', 'hf_is_private_repo'];

/** What is said of a push that does not happen. */
const unusedHubOption =
  (hubOnly: readonly string[]) => (options: { hf_repo_id: string | null }, isSet: (key: string) => boolean) => {
    const path = hubOnly.find(isSet);
    if (options.hf_repo_id !== null || path === undefined) return;
    return { path, message: 'has no effect without hf_repo_id', hint: 'name the repository: hf_repo_id user/name' };
  };

function repoName({ hf_repo_id }: { hf_repo_id: string | null }) {
  if (hf_repo_id === null || /^[\w.-]+\/[\w.-]+$/.test(hf_repo_id)) return;
  return { path: 'hf_repo_id', value: hf_repo_id, message: `${JSON.stringify(hf_repo_id)} is not "owner/name"` };
}

function unusedSeparator(options: { disable_concat_sequences: boolean }, isSet: (key: string) => boolean) {
  if (!options.disable_concat_sequences || !isSet('sequence_separator_token')) return;
  return {
    path: 'sequence_separator_token',
    message: 'has no effect with disable_concat_sequences: a sequence has one document',
    hint: 'leave one of the two out',
  };
}

export const pretokenizeRules: readonly OptionsRule<Pretokenize>[] = [
  unusedHubOption([...HUB_ONLY, 'hf_num_shards']),
  repoName,
  ({ save_path, hf_repo_id }) =>
    save_path === null && hf_repo_id === null
      ? { path: 'save_path', message: 'must be given, or hf_repo_id: the result has to go somewhere' }
      : undefined,
  ({ shuffle }, isSet) =>
    !shuffle && isSet('seed')
      ? { path: 'seed', message: 'has no effect without shuffle', hint: 'leave it out, or set shuffle: true' }
      : undefined,
  unusedSeparator,
  ({ begin_batch_token, context_size }) =>
    begin_batch_token !== null && context_size < 2
      ? {
          path: 'context_size',
          value: context_size,
          message: `${context_size} leaves no room beside begin_batch_token`,
          hint: 'use at least 2',
        }
      : undefined,
];

export const cacheActivationsRules: readonly OptionsRule<CacheActivations>[] = [
  // hf_num_shards cuts the cache itself, on the hub or not
  unusedHubOption(HUB_ONLY),
  repoName,
  ({ shuffle }, isSet) =>
    !shuffle && isSet('seed')
      ? { path: 'seed', message: 'has no effect without shuffle', hint: 'leave it out, or set shuffle: true' }
      : undefined,
  ({ compile_llm, llm_compilation_mode }) =>
    !compile_llm && llm_compilation_mode !== null
      ? { path: 'llm_compilation_mode', message: 'has no effect without compile_llm', hint: 'set compile_llm: true' }
      : undefined,
  ({ context_size, training_tokens }) =>
    context_size > training_tokens
      ? {
          path: 'training_tokens',
          value: training_tokens,
          message: `${training_tokens} is less than one sequence of context_size ${context_size}`,
          hint: `use at least ${context_size}`,
        }
      : undefined,
  ({ context_size, use_chat_formatting }) =>
    context_size === -1 && use_chat_formatting
      ? { path: 'context_size', message: 'must be given with use_chat_formatting: no row tells it' }
      : undefined,
  (options) => {
    const { seqpos_slice, context_size } = options;
    if ((seqpos_slice[2] ?? 1) < 1) {
      return {
        path: 'seqpos_slice',
        value: seqpos_slice,
        message: 'the step must be at least 1',
        hint: 'leave it out',
      };
    }
    if (context_size === -1 || slicedContextSize(options) > 0) return undefined;
    const message = `keeps no position of context_size ${context_size}`;
    return { path: 'seqpos_slice', value: seqpos_slice, message, hint: 'choose positions that are there' };
  },
  unusedSeparator,
  ({ use_chat_formatting }, isSet) =>
    use_chat_formatting && isSet('is_dataset_tokenized')
      ? { path: 'is_dataset_tokenized', message: 'has no effect with use_chat_formatting', hint: 'leave it out' }
      : undefined,
  ({ hook_name }) => {
    const twice = Array.isArray(hook_name) && hook_name.find((name, at) => hook_name.indexOf(name) !== at);
    return twice ? { path: 'hook_name', value: twice, message: `${JSON.stringify(twice)} is named twice` } : undefined;
  },
];
