import { isDeepStrictEqual } from 'node:util';
import { loggingOptions, runnerOptions, saeOptions } from './keys.ts';
import type { Layer, Setting } from './layer.ts';
import { type Problem, show } from './problem.ts';

/** Older names of options, each with today's. */
export const RENAMED: Readonly<Record<string, string>> = {
  hook_point: 'hook_name',
  hook_point_layer: 'hook_layer',
  hook_point_head_index: 'hook_head_index',
  hook_point_eval: 'hook_eval',
  activation_fn_str: 'activation_fn',
  total_training_tokens: 'training_tokens',
  train_batch_size: 'train_batch_size_tokens',
  store_batch_size: 'store_batch_size_prompts',
  logger_cfg: 'logger',
};

/** What SAELens writes into its files for the record; nobody sets it. */
export const RECORDS = new Set([
  'sae_lens_version',
  'sae_lens_training_version',
  'tokens_per_buffer',
  'normalize_activations_train',
  'metadata',
]);

/** What SAELens says in its files and never reads: of the weights beside them, and of data whose columns tell. */
const NEVER_READ = new Set(['finetuning_scaling_factor', 'is_dataset_tokenized']);

type Options = Readonly<Record<string, unknown>>;

export function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Is this a flat SAELens 5.x configuration? SAELens writes its version into what it saves; by hand it is said with
 * `vocabulary: v5`. Flat options alone prove nothing: they are also the command line's, in a file.
 */
export function isFlatV5(value: unknown): boolean {
  if (!isOptions(value) || 'sae' in value || 'saes' in value || isSavedSae(value)) return false;
  const version = recordedVersion(value);
  return value.vocabulary === 'v5' || (typeof version === 'string' && Number.parseInt(version, 10) < 6);
}

/** The version of SAELens that wrote this, as it says itself. */
function recordedVersion(value: Options): unknown {
  const record = isSavedSae(value) ? (value.metadata as Options) : value;
  return record.sae_lens_version ?? record.sae_lens_training_version;
}

/** Is this the `cfg.json` of an SAE saved by SAELens 6: sizes at the top, the run under `metadata`? */
function isSavedSae(value: Options): boolean {
  return isOptions(value.metadata) && 'architecture' in value;
}

/** The run that a saved SAE's `cfg.json` tells of. */
function runOfSavedSae(saved: Options): Options {
  const { metadata, architecture, ...inference } = saved;
  const record = metadata as Options;
  const run = Object.fromEntries(Object.entries(record).filter(([key]) => key in runnerOptions));
  const details = isOptions(record.training_architecture_details) ? record.training_architecture_details : {};
  const training = Object.fromEntries(Object.entries(inference).filter(([key]) => key in saeOptions));
  return { ...run, sae: { architecture: record.training_architecture ?? architecture, ...training, ...details } };
}

/** Break a layer into settings with canonical paths: renamed, un-flattened, records left out. */
export function settingsOf(layer: Layer, problems: Problem[]): Setting[] {
  const settings: Setting[] = [];
  const written = new Map<string, { value: unknown; name: string; where: string | undefined }>();
  const recorded = isOptions(layer.value) && recordedVersion(layer.value) !== undefined;
  const add = (path: string[], given: string[], raw: unknown) => {
    if (raw === undefined) return;
    const value = plainNumberType(path, raw);
    const where = layer.at?.(given);
    const name = given.join('.');
    const first = written.get(path.join('.'));
    if (first !== undefined) {
      if (!isDeepStrictEqual(first.value, value)) problems.push(saidTwice(path, value, name, where, first));
      return;
    }
    written.set(path.join('.'), { value, name, where });
    const provenance = { layer: layer.kind, source: layer.source, ...(where === undefined ? {} : { where }) };
    settings.push({ path, value, provenance, ...(recorded ? { recorded } : {}) });
  };
  const addGroup = (group: 'sae' | 'logger', value: unknown, given: string) => {
    if (!isOptions(value)) {
      const where = layer.at?.([given]);
      problems.push({ path: given, value, message: 'expected a group of options', ...(where ? { where } : {}) });
      return;
    }
    for (const [key, inner] of Object.entries(value)) {
      if (!RECORDS.has(key)) add([group, RENAMED[key] ?? key], [given, key], inner);
    }
  };
  const addSaes = (value: unknown, given: string) => {
    const group = (name: string[], inner: unknown, message: string): inner is Options => {
      if (isOptions(inner) && Object.keys(inner).length > 0) return true;
      const where = layer.at?.(name);
      problems.push({ path: name.join('.'), value: inner, message, ...(where ? { where } : {}) });
      return false;
    };
    if (!group([given], value, 'expected names, each with the options of an SAE')) return;
    for (const [name, options] of Object.entries(value)) {
      // One that changes nothing is an SAE all the same.
      if (isOptions(options) && Object.keys(options).length === 0) add(['saes', name, ''], [given, name], null);
      else if (group([given, name], options, 'expected a group of options')) {
        for (const [key, inner] of Object.entries(options)) {
          if (!RECORDS.has(key)) add(['saes', name, RENAMED[key] ?? key], [given, name, key], inner);
        }
      }
    }
  };
  if (!isOptions(layer.value)) {
    problems.push({ path: '', message: `${layer.source} holds no options: expected keys with values` });
    return settings;
  }
  const value = isSavedSae(layer.value) ? runOfSavedSae(layer.value) : layer.value;
  for (const [given, inner] of Object.entries(value)) {
    const key = RENAMED[given] ?? given;
    if (RECORDS.has(key) || (recorded && NEVER_READ.has(key))) continue;
    if (key === 'sae' || key === 'logger') addGroup(key, inner, given);
    else if (key === 'saes') addSaes(inner, given);
    else if (key in runnerOptions) add([key], [given], inner);
    else if (key in loggingOptions) add(['logger', key], [given], inner);
    else if (key === 'architecture' || key in saeOptions) add(['sae', key], [given], inner);
    else add([key], [given], inner);
  }
  return settings;
}

/** One layer gives an option two values, under two names or in two places. */
function saidTwice(
  path: readonly string[],
  value: unknown,
  name: string,
  where: string | undefined,
  first: { value: unknown; name: string; where: string | undefined },
): Problem {
  const other = `${first.name} = ${show(first.value)}${first.where === undefined ? '' : ` of ${first.where}`}`;
  return {
    path: path.join('.'),
    value,
    message: `${name} = ${show(value)} and ${other} are the same option`,
    hint: 'keep one of them',
    ...(where === undefined ? {} : { where }),
  };
}

/** Older files say `torch.float32` where `float32` is meant, and the seed page misspells a schedule. */
function plainNumberType(path: readonly string[], value: unknown): unknown {
  const key = path.at(-1);
  if (key === 'dtype' && typeof value === 'string') return value.replace(/^torch\./, '');
  if (key === 'lr_scheduler_name' && typeof value === 'string') {
    return value.toLowerCase().replace(/^consine/, 'cosine');
  }
  return value;
}
