import { existsSync } from 'node:fs';
import { type LocateOptions, locateSae } from '../artifacts/published-sae.ts';
import type { ReleasedSae } from '../artifacts/registry.ts';
import { saesOf } from '../artifacts/run-saes.ts';
import { checkSaeFolder } from '../artifacts/sae-folder.ts';
import { type EvalConfig, fromLayer, type ResolvedConfig, resolveConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { recordedConfig } from './config-from.ts';

/** Where the text of an evaluation comes from. */
export type EvalText =
  /** Sequences that the run kept back and never trained on. */
  | 'held_out'
  /** The beginning of the dataset that the SAE was trained on, by all that its files say. */
  | 'training'
  /** A dataset that was named for the evaluation. */
  | 'named';

/** An SAE to evaluate, with all that says how. */
export interface EvalSubject {
  readonly name: string;
  readonly folder: string;
  readonly released: ReleasedSae | null;
  /** How model and text are read. */
  readonly config: ResolvedConfig;
  readonly text: EvalText;
  /** The options with what null stands for. */
  readonly options: FilledEvalConfig;
}

/** Options of an evaluation without the nulls that stand for something else. */
export type FilledEvalConfig = EvalConfig & {
  [K in
    | 'dataset_path'
    | 'dataset_split'
    | 'context_size'
    | 'exclude_special_tokens'
    | 'batch_size_prompts'
    | 'n_eval_reconstruction_batches'
    | 'n_eval_sparsity_variance_batches']: NonNullable<EvalConfig[K]>;
};

/** The SAE as the worker's operations take it: `EvaluatedFolder` of pyworker/runners/evals.py. */
export const evaluatedFolder = ({ folder, released, config }: EvalSubject) => ({
  path: folder,
  overrides: released?.overrides ?? {},
  norm_scaling_factor: released?.normScalingFactor ?? null,
  hook_name: config.hook_name,
  hook_head_index: config.hook_head_index,
});

/** SAELens' numbers, for an SAE whose files say none. */
const BATCH_SIZE_PROMPTS = 16;
const N_BATCHES = 10;

/**
 * The SAEs that references mean: run folders, SAE folders, `hub:user/repo/folder@revision`, `release/id`.
 *
 * @throws SaeLensError USAGE, SAE_INVALID, CONFIG_INVALID naming the option that is missing, and what the hub refuses
 */
export async function evalSubjects(
  references: readonly string[],
  options: EvalConfig,
  locate: LocateOptions,
): Promise<EvalSubject[]> {
  const subjects: EvalSubject[] = [];
  for (const reference of references) {
    const { path, released } = await locateSae(reference, locate);
    const folders = existsSync(reference) ? await saesOf(path) : [{ name: reference, folder: path }];
    for (const { name, folder } of folders) {
      await checkSaeFolder(folder);
      subjects.push({ name, folder, released, ...settingsOf(name, folder, released, options) });
    }
  }
  return subjects;
}

function settingsOf(
  name: string,
  folder: string,
  released: ReleasedSae | null,
  options: EvalConfig,
): Pick<EvalSubject, 'config' | 'text' | 'options'> {
  const recorded = (recordedConfig(folder) ?? {}) as Record<string, unknown>;
  const metadata = {
    ...(recorded.metadata as object | undefined),
    ...(released?.overrides.metadata as object | undefined),
  };
  const value = Object.keys(metadata).length === 0 ? recorded : { ...recorded, metadata };
  const { model_name, model_class_name, hook_name, dataset_path } = options;
  const given = { model_name, model_class_name, hook_name, dataset_path };
  const chosen = Object.fromEntries(Object.entries(given).filter(([, one]) => one !== null));
  const { config, provenance } = resolveConfig([
    fromLayer(folder, value),
    { kind: 'object', source: 'the options', value: chosen },
  ]);
  for (const key of ['model_name', 'hook_name', 'dataset_path'] as const) {
    if (provenance.get(key)?.layer !== 'default' && config[key] !== '') continue;
    throw new SaeLensError('CONFIG_INVALID', `Cannot evaluate ${name}: its files do not say its ${key}`, {
      hint: `say it: --${key}`,
      details: { problems: [{ path: key, message: 'must be given' }] },
    });
  }
  // Only a run of ours sets sequences apart (SAELens evaluates on what it trains on), and one on a cache took others.
  const isOurs = 'on_data_end' in recorded && recorded.use_cached_activations !== true;
  const text: EvalText = dataset_path !== null ? 'named' : isOurs ? 'held_out' : 'training';
  return { config: read(config, text), text, options: filled(name, options, config, text, isOurs) };
}

/** Another dataset has columns of its own. */
function read(config: ResolvedConfig, text: EvalText): ResolvedConfig {
  if (text !== 'named') return config;
  return {
    ...config,
    dataset_name: null,
    dataset_column: null,
    is_dataset_tokenized: null,
    use_chat_formatting: false,
  };
}

function filled(
  name: string,
  options: EvalConfig,
  config: ResolvedConfig,
  text: EvalText,
  isOurs: boolean,
): FilledEvalConfig {
  const context_size = options.context_size ?? config.context_size;
  if (text === 'held_out' && context_size > config.context_size) {
    throw new SaeLensError(
      'CONFIG_INVALID',
      `Cannot evaluate ${name} on sequences of ${context_size} tokens: those its run held out have ${config.context_size}`,
      { hint: 'name a dataset too: --dataset_path' },
    );
  }
  const reconstruction = options.n_eval_reconstruction_batches ?? (isOurs ? config.n_eval_batches : N_BATCHES);
  return {
    ...options,
    dataset_path: config.dataset_path,
    dataset_split: options.dataset_split ?? (text === 'named' ? 'train' : config.dataset_split),
    context_size,
    exclude_special_tokens: options.exclude_special_tokens ?? config.exclude_special_tokens,
    batch_size_prompts: options.batch_size_prompts ?? (isOurs ? config.eval_batch_size_prompts : BATCH_SIZE_PROMPTS),
    n_eval_reconstruction_batches: reconstruction,
    n_eval_sparsity_variance_batches: options.n_eval_sparsity_variance_batches ?? reconstruction,
  };
}
