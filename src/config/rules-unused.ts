import { isDeepStrictEqual } from 'node:util';
import { schemaAt } from './keys.ts';
import { type Settings, strength } from './layer.ts';
import { metaOf } from './option.ts';
import { type Problem, shortly } from './problem.ts';
import type { ResolvedConfig } from './resolved.ts';
import type { RuleContext } from './rule.ts';

/** `causes` are the options that decide whether it is used. */
type Unused = [path: string, needs: string, causes: string[], isUsed: (config: ResolvedConfig) => boolean];

/** How the weights begin, where they are not read from a saved SAE. */
const OF_START = [
  'decoder_init_norm',
  'decoder_heuristic_init',
  'decoder_orthogonal_init',
  'init_encoder_as_decoder_transpose',
  'b_dec_init_method',
  'jumprelu_init_threshold',
];

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
    'skip_bad_shards',
    'use_cached_activations true',
    ['use_cached_activations'],
    (config) => config.use_cached_activations,
  ],
  [
    'lr_end',
    'lr_scheduler_name cosineannealing or cosineannealingwarmrestarts',
    ['lr_scheduler_name', 'lr'],
    ({ lr_scheduler_name, lr_end, lr }) => lr_scheduler_name !== 'constant' || lr_end === lr / 10,
  ],
  [
    'n_batches_for_norm_estimate',
    'normalize_activations expected_average_only_in or covariance_whitening',
    ['sae.normalize_activations'],
    ({ sae }) => ['expected_average_only_in', 'covariance_whitening'].includes(sae.normalize_activations),
  ],
  [
    'sequence_separator_token',
    'disable_concat_sequences false',
    ['disable_concat_sequences'],
    (config) => !config.disable_concat_sequences,
  ],
  [
    'dataset_name',
    'a dataset_path that is not bundled',
    ['dataset_path'],
    (config) => !config.dataset_path.startsWith('bundled:'),
  ],
  [
    'dead_feature_threshold',
    'a value above 1 / the samples of two sampling windows, or of the run',
    ['feature_sampling_window', 'training_tokens', 'train_batch_size_tokens'],
    (config) => config.dead_feature_threshold === 0 || 1 / config.dead_feature_threshold < samplesJudged(config),
  ],
  ['autocast', 'a dtype other than float64', ['dtype', 'sae.dtype'], ({ sae }) => sae.dtype !== 'float64'],
  [
    'sae.decoder_init_norm',
    'decoder_heuristic_init, decoder_orthogonal_init and normalize_sae_decoder false',
    ['sae.decoder_heuristic_init', 'sae.decoder_orthogonal_init', 'sae.normalize_sae_decoder'],
    ({ sae }) => !sae.decoder_heuristic_init && !sae.decoder_orthogonal_init && !sae.normalize_sae_decoder,
  ],
  [
    'sae.decoder_heuristic_init_norm',
    'decoder_heuristic_init true',
    ['sae.decoder_heuristic_init'],
    ({ sae }) => sae.decoder_heuristic_init,
  ],
  ...OF_START.map(
    (key): Unused => [
      `sae.${key}`,
      'from_pretrained_path null, because a saved SAE brings its weights',
      ['from_pretrained_path'],
      (config) => config.from_pretrained_path === null,
    ],
  ),
  [
    'sae.activation_fn_kwargs',
    'activation_fn topk',
    ['sae.activation_fn'],
    ({ sae }) => !('activation_fn' in sae) || sae.activation_fn === 'topk',
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

/** Without W&B these wait for it: a file may keep them, who asks for one today is told. */
const OF_WANDB: readonly Unused[] = [
  'wandb_project',
  'wandb_id',
  'wandb_entity',
  'log_weights_to_wandb',
  'log_optimizer_state_to_wandb',
  'log_activations_store_to_wandb',
].map((key) => [`logger.${key}`, 'log_to_wandb true', ['logger.log_to_wandb'], (config) => config.logger.log_to_wandb]);

/** What {@link idleSettings} found. */
interface Idle {
  problems: Problem[];
  notices: string[];
  /** Paths to take out of the settings. */
  dropped: string[];
}

/**
 * Settings without effect. One that was made idle by a stronger layer (a flag over a file), or that a file of SAELens
 * records, is left out with a notice; any other is a problem. A default asks for nothing, wherever it is written.
 */
export function idleSettings({ config }: RuleContext, settings: Settings, broken: ReadonlySet<string>): Idle {
  const idle: Idle = { problems: [], notices: [], dropped: [] };
  for (const [path, needs, causes, isUsed] of [...UNUSED, ...OF_WANDB]) {
    const setting = settings.get(path);
    if (strength(setting?.provenance) < 0 || setting === undefined) continue;
    if ([path, ...causes].some((key) => broken.has(key)) || isUsed(config) || asksForNothing(path, setting.value))
      continue;
    const { where, source } = setting.provenance;
    const message = `${shortly(setting.value)} has no effect without ${needs}`;
    const cause = Math.max(...causes.map((key) => strength(settings.get(key)?.provenance)));
    const waits = OF_WANDB.some(([key]) => key === path);
    if (waits && setting.recorded) continue;
    if (setting.recorded || cause - strength(setting.provenance) >= (waits ? 0 : 1)) {
      idle.notices.push(`${where ?? source}: ${path} = ${message}`);
      if (!waits) idle.dropped.push(path);
    } else {
      const hint = `remove it, or use ${needs}`;
      idle.problems.push({ path, value: setting.value, message, hint, ...(where === undefined ? {} : { where }) });
    }
  }
  return idle;
}

/** Its default, of today or of SAELens 5, or nothing at all. */
function asksForNothing(path: string, value: unknown): boolean {
  const schema = schemaAt(path.split('.'));
  if (schema === undefined || value === null) return true;
  return isDeepStrictEqual(value, schema.parse(undefined)) || isDeepStrictEqual(value, metaOf(schema).v5);
}

/** The most samples a firing frequency is ever judged by: the last and the current window. */
function samplesJudged(config: ResolvedConfig): number {
  const windows = 2 * config.feature_sampling_window * config.train_batch_size_tokens;
  return Math.min(windows, config.training_tokens + config.finetuning_tokens);
}
