import type { z } from 'zod';
import type { ParsedConfig, ResolvedConfig, ResolvedSAE } from './resolved.ts';

/** Find the defaults that depend on other options. `isSet` tells what a layer gave. */
export function derive(parsed: ParsedConfig, isSet: (path: string) => boolean): ResolvedConfig {
  const { hook_layer: _layer, hook_eval: _eval, resume: _resume, prefetch_llm_batches: prefetch, ...run } = parsed;
  const llm_device = run.llm_device ?? run.device;
  const sae = deriveSae(parsed, isSet);
  const separator = sae.vocabulary === 'v5' && !run.prepend_bos && !isSet('sequence_separator_token');
  return {
    ...run,
    sae,
    llm_device,
    act_store_device: run.act_store_device === 'with_model' ? llm_device : (run.act_store_device ?? run.device),
    lr_end: run.lr_end ?? run.lr / 10,
    eval_batch_size_prompts: run.eval_batch_size_prompts ?? run.store_batch_size_prompts,
    model_from_pretrained_kwargs: run.model_from_pretrained_kwargs ?? loadingArguments(run.model_class_name),
    prefetch_llm_batches: Number(prefetch),
    // SAELens 5.x put a BOS between documents only where it put one at the start.
    sequence_separator_token: separator ? null : run.sequence_separator_token,
    logger: { ...run.logger, run_name: run.logger.run_name ?? loggedName(parsed, sae) },
  };
}

/** What the model is loaded with when nothing is said. */
export function loadingArguments(modelClass: ParsedConfig['model_class_name']): Record<string, z.core.util.JSONType> {
  return modelClass === 'HookedTransformer' ? { center_writing_weights: false } : {};
}

/** Where the cache of a model's activations lies when nothing is said: SAELens' place. */
export function cachePlace(run: { dataset_path: string; model_name: string; hook_name: string | string[] }): string {
  const part = (name: string) => name.replaceAll('/', '_');
  const hooks = Array.isArray(run.hook_name) ? run.hook_name.join('+') : run.hook_name;
  return `activations/${part(run.dataset_path)}/${part(run.model_name)}/${part(hooks)}`;
}

function deriveSae({ sae, ...run }: ParsedConfig, isSet: (path: string) => boolean): ResolvedSAE {
  const otherInit = sae.decoder_heuristic_init || sae.decoder_orthogonal_init;
  const expansion_factor = sae.expansion_factor ?? (sae.d_sae === null ? 4 : null);
  const shared = {
    dtype: sae.dtype ?? run.dtype,
    device: sae.device ?? run.device,
    decoder_init_norm: otherInit && !isSet('sae.decoder_init_norm') ? null : sae.decoder_init_norm,
    expansion_factor,
    d_sae: sae.d_sae ?? (sae.d_in === null || expansion_factor === null ? null : sae.d_in * expansion_factor),
  };
  if (sae.architecture !== 'standard') return { ...sae, ...shared };
  const topkDefault = sae.activation_fn === 'topk' && Object.keys(sae.activation_fn_kwargs).length === 0;
  return {
    ...sae,
    ...shared,
    activation_fn_kwargs: topkDefault ? { k: 100 } : sae.activation_fn_kwargs,
    scale_sparsity_penalty_by_decoder_norm: sae.scale_sparsity_penalty_by_decoder_norm ?? !sae.normalize_sae_decoder,
  };
}

/** The run name SAELens gives, of the generation the configuration is written in. */
function loggedName(run: ParsedConfig, sae: ResolvedSAE): string {
  const size = sae.d_sae ?? `${sae.expansion_factor}x`;
  const tokens = exponential(run.training_tokens);
  if (sae.vocabulary === 'v6') return `${sae.architecture}-${size}-LR-${pythonFloat(run.lr)}-Tokens-${tokens}`;
  const l1 = 'l1_coefficient' in sae ? sae.l1_coefficient : 'l0_coefficient' in sae ? sae.l0_coefficient : 0.001;
  return `${size}-L1-${pythonFloat(l1)}-LR-${pythonFloat(run.lr)}-Tokens-${tokens}`;
}

/** Python's `f"{n:3.3e}"`. */
function exponential(value: number): string {
  return value.toExponential(3).replace(/e([+-])(\d)$/, 'e$10$2');
}

/** Python's `str` of a float, where JavaScript's differs: an exponent from 1e-5 down, with two digits. */
function pythonFloat(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential().replace(/e-(\d)$/, 'e-0$1');
  return String(value);
}
