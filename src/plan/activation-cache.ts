import { type RunnerOptions, slicedContextSize } from '../config/index.ts';

/** What a cache will be, as far as it is known without the model and the dataset. */
export interface CachePlan {
  readonly hookNames: readonly string[];
  /** Positions kept of each sequence; null while `context_size` is read from the dataset. */
  readonly context: number | null;
  /** Whole sequences, so that at least `training_tokens` are kept; fewer when the dataset ends before. */
  readonly nSequences: number | null;
  readonly nTokens: number | null;
  /** Bytes on disk, to a hundredth; null while `d_in` is read from the model. */
  readonly totalBytes: number | null;
  readonly nFiles: number | null;
}

/** What Arrow says of a file, and of a record batch: the figures of pyworker/data/activation_cache_writer.py. */
const fileHeaderBytes = (nHooks: number): number => 480 * (nHooks + 1);
const batchHeaderBytes = (nHooks: number): number => 176 + 160 * nHooks;

/** Works out a cache. Pure; the worker computes the same sizes once it knows what is open here. */
export function planCache(config: RunnerOptions['cache-activations']): CachePlan {
  const { hook_name, d_in, dtype, model_batch_size } = config;
  const hookNames = typeof hook_name === 'string' ? [hook_name] : hook_name;
  const context = config.context_size === -1 ? null : slicedContextSize(config);
  const nSequences = context === null ? null : Math.ceil(config.training_tokens / context);
  const nTokens = context === null || nSequences === null ? null : nSequences * context;
  const open = { hookNames, context, nSequences, nTokens, totalBytes: null, nFiles: null };
  if (context === null || nSequences === null || d_in === null) return open;
  // bfloat16 is stored as float32: HF datasets has no such type
  const width = dtype === 'float16' ? 2 : 4;
  const perSequence = hookNames.length * (context * (d_in * width + 4) + 4) + context * 4;
  const nBatches = Math.ceil(nSequences / model_batch_size);
  const batchHeader = batchHeaderBytes(hookNames.length);
  const fileHeader = fileHeaderBytes(hookNames.length);
  const batchesAFile = Math.floor(
    (config.buffer_size_gb * 1e9 - fileHeader) / (model_batch_size * perSequence + batchHeader),
  );
  const nFiles = config.hf_num_shards ?? (batchesAFile < 1 ? null : Math.ceil(nBatches / batchesAFile));
  const totalBytes = nSequences * perSequence + nBatches * batchHeader + (nFiles ?? 1) * fileHeader;
  return { ...open, totalBytes, nFiles };
}
