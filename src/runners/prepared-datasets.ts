import { existsSync } from 'node:fs';
import { isMachinePath } from '../artifacts/machine-paths.ts';
import type { ResolvedConfig } from '../config/index.ts';
import { isBundled } from '../worker/bundled.ts';

/** A dataset on the hub that somebody tokenized already. */
export interface PretokenizedDataset {
  readonly id: string;
  readonly tokenizer: string;
  readonly source: string;
  readonly context_size: number;
  /** Whether SAELens made it, and so `sae_lens.json` says how. */
  readonly created_with_saelens: boolean;
}

type Row = readonly [id: string, tokenizer: string, source: string, contextSize: number, bySaelens: boolean];
const OPENWEBTEXT = 'Skylion007/openwebtext';
const PILE = 'monology/pile-uncopyrighted';
const APOLLO = 'apollo-research/';
const NEOX = 'EleutherAI/gpt-neox-20b';
const ROWS: readonly Row[] = [
  ['chanind/openwebtext-gemma', 'gemma', OPENWEBTEXT, 8192, true],
  ['chanind/openwebtext-llama3', 'llama3', OPENWEBTEXT, 8192, true],
  [`${APOLLO}Skylion007-openwebtext-tokenizer-EleutherAI-gpt-neox-20b`, NEOX, OPENWEBTEXT, 2048, false],
  [`${APOLLO}monology-pile-uncopyrighted-tokenizer-EleutherAI-gpt-neox-20b`, NEOX, PILE, 2048, false],
  [`${APOLLO}monology-pile-uncopyrighted-tokenizer-gpt2`, 'gpt2', PILE, 1024, false],
  [`${APOLLO}Skylion007-openwebtext-tokenizer-gpt2`, 'gpt2', OPENWEBTEXT, 1024, false],
  ['GulkoA/TinyStories-tokenized-Llama-3.2', 'llama3.2', 'roneneldan/TinyStories', 128, true],
];

/** The list of SAELens' documentation. */
export const PRETOKENIZED_DATASETS: readonly PretokenizedDataset[] = ROWS.map(
  ([id, tokenizer, source, context_size, created_with_saelens]) => ({
    id,
    tokenizer,
    source,
    context_size,
    created_with_saelens,
  }),
);

/** Which models read with which tokenizer of the list. Gemma 3 and Llama 2 have others; gpt-neox is no gpt-neo. */
const FAMILIES: readonly (readonly [models: RegExp, tokenizers: RegExp])[] = [
  [/gemma(?!-?[34])/i, /^gemma$/],
  [/llama-?3/i, /^llama3/],
  [/pythia|gpt-neox/i, /gpt-neox/],
  [/gpt-?2|gpt-neo-|tiny-?stories-/i, /^gpt2$/],
];

/** Those whose tokenizer has this in its name. */
export function pretokenizedDatasets(tokenizer?: string): PretokenizedDataset[] {
  const wanted = tokenizer?.toLowerCase() ?? '';
  return PRETOKENIZED_DATASETS.filter((one) => one.tokenizer.toLowerCase().includes(wanted));
}

/** What decides whether a prepared dataset fits. */
type Training = Pick<
  ResolvedConfig,
  'model_name' | 'dataset_path' | 'context_size' | 'is_dataset_tokenized' | 'use_cached_activations'
>;

/**
 * The prepared dataset that fits a training run which would tokenize, of the same source where there is one; null when
 * the run's own data lies on this machine, is prepared already, or nothing fits.
 */
export function preparedDatasetFor(config: Training): PretokenizedDataset | null {
  const { dataset_path, context_size } = config;
  if (config.is_dataset_tokenized === true || config.use_cached_activations) return null;
  if (isBundled(dataset_path) || isMachinePath(dataset_path) || existsSync(dataset_path)) return null;
  if (/token/i.test(dataset_path) || PRETOKENIZED_DATASETS.some(({ id }) => id === dataset_path)) return null;
  const family = FAMILIES.find(([models]) => models.test(config.model_name))?.[1];
  const fitting = PRETOKENIZED_DATASETS.filter(
    (one) => family?.test(one.tokenizer) === true && one.context_size >= context_size,
  );
  return fitting.find(({ source }) => source === dataset_path) ?? fitting[0] ?? null;
}

/** One line about {@link preparedDatasetFor}. */
export function preparedDatasetNote(config: Training): string | null {
  const found = preparedDatasetFor(config);
  if (found === null) return null;
  const { id, source, context_size } = found;
  return `${source} is tokenized for ${config.model_name} already, ${context_size} tokens a sequence: --dataset_path ${id} (sae-lens-ts datasets)`;
}
