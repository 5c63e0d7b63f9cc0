import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { toJson, writeFileAtomic } from '../artifacts/atomic.ts';
import { COMPUTE_FLAGS, type EvalConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { VERSION } from '../version.ts';
import type { EvalResult } from './evals.ts';

/** What SAEBench writes of each latent. */
const FEATUREWISE = [
  'feature_density',
  'consistent_activation_heuristic',
  'encoder_bias',
  'encoder_norm',
  'encoder_decoder_cosine_sim',
  'max_decoder_cosine_sim',
  'max_encoder_cosine_sim',
] as const;

/** SAEBench's number for what is not defined: its schema takes nothing else. */
const NOT_DEFINED = -1;

/**
 * The options with everything that SAEBench's core evaluation has; all of it is required there.
 *
 * @throws SaeLensError USAGE when some of it was left out
 */
export function forSaeBench(config: EvalConfig): EvalConfig {
  const left = COMPUTE_FLAGS.find((flag) => !config[flag] && flag !== 'compute_featurewise_weight_based_metrics');
  if (config.metrics !== null || left !== undefined) {
    const option = config.metrics !== null ? 'metrics' : left;
    throw new SaeLensError('USAGE', `Cannot write SAEBench's JSON with ${option}: its schema wants every metric`, {
      hint: `leave --${option} out, or take --json instead of --output`,
    });
  }
  return { ...config, compute_featurewise_weight_based_metrics: true };
}

/**
 * A result in the schema of SAEBench's core evaluation (sae_bench/evals/core/eval_output.py, 0.6.0). What is not
 * defined is -1 there, as SAEBench and SAELens write it; `eval_result_unstructured` has it as null, and the intervals.
 */
export function saeBenchOutput(result: EvalResult): Record<string, unknown> {
  const { options, metrics, intervals, featurewise, text, n_prompts, name, cfg } = result;
  const groups: Record<string, Record<string, number>> = {};
  for (const [key, value] of Object.entries(metrics)) {
    const [group = '', metric = ''] = key.split('/');
    groups[group] = { ...groups[group], [metric]: value ?? NOT_DEFINED };
  }
  const length = featurewise.feature_density?.length ?? 0;
  return {
    eval_type_id: 'core',
    eval_config: {
      model_name: result.model_name,
      llm_dtype: 'float32',
      batch_size_prompts: options.batch_size_prompts,
      n_eval_reconstruction_batches: options.n_eval_reconstruction_batches,
      n_eval_sparsity_variance_batches: options.n_eval_sparsity_variance_batches,
      dataset: result.dataset_path,
      context_size: options.context_size,
      ...Object.fromEntries(COMPUTE_FLAGS.map((flag) => [flag, options[flag]])),
      exclude_special_tokens_from_reconstruction: options.exclude_special_tokens !== false,
      verbose: false,
    },
    eval_id: randomUUID(),
    datetime_epoch_millis: Date.now(),
    eval_result_metrics: groups,
    eval_result_details: Array.from({ length }, (_, index) => ({
      index,
      ...Object.fromEntries(FEATUREWISE.map((key) => [key, finite(featurewise[key]?.[index])])),
    })),
    sae_bench_commit_hash: `sae-lens-ts ${VERSION}`,
    sae_lens_id: name,
    sae_lens_release_id: null,
    sae_lens_version: null,
    sae_cfg_dict: cfg,
    eval_result_unstructured: { metrics, intervals, text, n_prompts },
  };
}

const finite = (value: number | undefined): number =>
  value === undefined || !Number.isFinite(value) ? NOT_DEFINED : value;

/**
 * Writes SAEBench's JSON: into a file for one SAE, for several into a folder, each under its name.
 *
 * @returns the files
 * @throws SaeLensError STORAGE
 */
export async function writeSaeBench(results: readonly EvalResult[], output: string): Promise<string[]> {
  const place = resolve(output);
  const files = results.map(
    (result) =>
      [
        results.length === 1 ? place : join(place, `${result.name.replaceAll(/[^\w.+-]+/g, '_')}_eval_results.json`),
        result,
      ] as const,
  );
  try {
    for (const [file, result] of files) {
      await mkdir(dirname(file), { recursive: true });
      await writeFileAtomic(file, toJson(saeBenchOutput(result)));
    }
  } catch (error) {
    throw new SaeLensError('STORAGE', `Cannot write "${output}": ${(error as Error).message}`, {
      cause: error,
      hint: 'choose a place you may write to: --output',
    });
  }
  return files.map(([file]) => file);
}
