import { isDeepStrictEqual } from 'node:util';
import { schemaAt } from './keys.ts';
import { show } from './problem.ts';
import type { ResolvedConfig } from './resolved.ts';
import type { Rule } from './rule.ts';

type Unused = [path: string, needs: string, otherKeys: string[], isUsed: (config: ResolvedConfig) => boolean];

/** Options that act only beside another one: setting them alone is a mistake worth hearing of. */
const UNUSED: readonly Unused[] = [
  [
    'n_restart_cycles',
    'lr_scheduler_name cosineannealingwarmrestarts',
    ['lr_scheduler_name'],
    (config) => config.lr_scheduler_name === 'cosineannealingwarmrestarts',
  ],
  ['finetuning_method', 'finetuning_tokens above 0', ['finetuning_tokens'], (config) => config.finetuning_tokens > 0],
  ['sae_compilation_mode', 'compile_sae true', ['compile_sae'], (config) => config.compile_sae],
  ['llm_compilation_mode', 'compile_llm true', ['compile_llm'], (config) => config.compile_llm],
  [
    'eval_dataset_split',
    'eval_dataset_path, or a split that is not trained on',
    ['eval_dataset_path', 'dataset_split'],
    (config) => config.eval_dataset_path !== null || config.eval_dataset_split !== config.dataset_split,
  ],
  [
    'cached_activations_path',
    'use_cached_activations true',
    ['use_cached_activations'],
    (config) => config.use_cached_activations,
  ],
  [
    'sae.decoder_init_norm',
    'decoder_heuristic_init and decoder_orthogonal_init false',
    ['sae.decoder_heuristic_init', 'sae.decoder_orthogonal_init'],
    ({ sae }) => !sae.decoder_heuristic_init && !sae.decoder_orthogonal_init,
  ],
  [
    'sae.decoder_heuristic_init_norm',
    'decoder_heuristic_init true',
    ['sae.decoder_heuristic_init'],
    ({ sae }) => sae.decoder_heuristic_init,
  ],
  ['sae.noise_scale', 'an architecture other than gated', [], ({ sae }) => sae.architecture !== 'gated'],
  [
    'sae.jumprelu_tanh_scale',
    'jumprelu_sparsity_loss_mode tanh',
    ['sae.jumprelu_sparsity_loss_mode'],
    ({ sae }) => 'jumprelu_sparsity_loss_mode' in sae && sae.jumprelu_sparsity_loss_mode === 'tanh',
  ],
  [
    'sae.target_l0',
    'jumprelu_sparsity_loss_mode quadratic',
    ['sae.jumprelu_sparsity_loss_mode'],
    ({ sae }) => 'jumprelu_sparsity_loss_mode' in sae && sae.jumprelu_sparsity_loss_mode === 'quadratic',
  ],
];

/** A default asks for nothing, wherever it is written: files of SAELens write every option. */
export const unusedRules: readonly Rule[] = UNUSED.map(([path, needs, otherKeys, isUsed]) => ({
  keys: [path, ...otherKeys] as [string, ...string[]],
  check: ({ config, isSet }) => {
    if (!isSet(path) || isUsed(config)) return undefined;
    const value = path.split('.').reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], config);
    if (value === null || value === undefined) return undefined;
    if (isDeepStrictEqual(value, schemaAt(path.split('.'))?.parse(undefined))) return undefined;
    return { value, message: `${show(value)} has no effect without ${needs}`, hint: `remove it, or use ${needs}` };
  },
}));
