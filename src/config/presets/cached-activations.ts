import { demo } from './demo.ts';
import type { Preset } from './preset.ts';

const CACHE = 'activations/smollm2-135m-layer-4';
const { model_name, model_class_name, hook_name, dataset_path, context_size, training_tokens, ...others } = demo.config;
const { streaming: _, store_batch_size_prompts, exclude_special_tokens: __, ...training } = others;
const { exclude_special_tokens: ___, ...why } = demo.why;

const flags = {
  ...{ model_name, model_class_name, hook_name, dataset_path, streaming: false, exclude_special_tokens: true },
  ...{ context_size, training_tokens, store_batch_size_prompts, new_cached_activations_path: CACHE },
};

/** Training from activations that were computed once, without a language model. */
export const cachedActivations: Preset = {
  description: 'The demo from activations that are computed once: no language model while it trains',
  config: {
    ...training,
    model_name,
    model_class_name,
    hook_name,
    use_cached_activations: true,
    cached_activations_path: CACHE,
    context_size,
    training_tokens,
    store_batch_size_prompts,
    n_eval_batches: 0,
  },
  why: {
    ...why,
    model_name: 'what the cache was made of: it is not loaded',
    n_eval_batches: 'an evaluation needs the model; `sae-lens-ts eval` makes it afterwards',
  },
  first: `sae-lens-ts cache-activations ${Object.entries(flags)
    .map(([flag, value]) => `--${flag} ${value}`)
    .join(' ')}`,
};
