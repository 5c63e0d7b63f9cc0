import { show } from './problem.ts';
import type { ResolvedConfig } from './resolved.ts';
import type { Rule } from './rule.ts';

/** The layer a hook name speaks of, as SAELens reads it; null when it names none. */
export function layerOfHook(hookName: string): number | null {
  const match = /\.(\d+)(?:\.|$)/.exec(hookName);
  return match === null ? null : Number(match[1]);
}

/** What transformers takes a token of the Hub as. */
const SECRETS = ['token', 'use_auth_token'];

const HALF_FLOAT = {
  value: 'float16',
  message: "float16 is too narrow to train in: Adam's epsilon and the squares of small gradients are 0 in it",
  hint: 'set sae.dtype to float32; autocast true gives speed (dtype may stay: it is that of the activations kept)',
};

/** What the kernels that work by index do not have. */
const NOT_BY_INDEX: readonly [wanted: string, isSo: (config: ResolvedConfig) => boolean][] = [
  ['dtype float32 or float64', ({ sae }) => sae.dtype !== 'float32' && sae.dtype !== 'float64'],
  ['noise_scale 0', ({ sae }) => sae.noise_scale > 0],
  [
    'activation_fn relu or tanh-relu',
    ({ sae }) => 'activation_fn' in sae && sae.activation_fn !== 'relu' && sae.activation_fn !== 'tanh-relu',
  ],
  ['compile_sae false', ({ compile_sae }) => compile_sae],
];

/** Options that contradict each other, or ask for what there is not. */
export const combinationRules: readonly Rule[] = [
  {
    keys: [
      'sae.kernels',
      'sae.use_sparse_activations',
      'sae.activation_fn',
      'sae.dtype',
      'sae.noise_scale',
      'compile_sae',
    ],
    check: ({ config }) => {
      const { sae } = config;
      const value = sae.kernels;
      const asked = 'use_sparse_activations' in sae && sae.use_sparse_activations;
      if ((value === 'dense' || value === 'measured') && asked) {
        return {
          value,
          message: `"${value}" contradicts use_sparse_activations true`,
          hint: 'leave one of the two out',
        };
      }
      if (value !== 'sparse' && value !== 'measured' && !asked) return undefined;
      const wanted = NOT_BY_INDEX.filter(([, isSo]) => isSo(config)).map(([what]) => what);
      if (wanted.length === 0) return undefined;
      const which = value === 'measured' ? value : 'sparse';
      return { value: which, message: `"${which}" needs ${wanted.join(', ')}`, hint: 'or use kernels: auto' };
    },
  },
  {
    keys: ['sae.two_stage_selection', 'sae.kernels', 'sae.dtype', 'sae.noise_scale', 'compile_sae'],
    check: ({ config }) => {
      const { sae } = config;
      if (!('two_stage_selection' in sae) || !sae.two_stage_selection) return undefined;
      const wanted = NOT_BY_INDEX.slice(1).filter(([, isSo]) => isSo(config));
      const all = [
        ...(sae.kernels === 'dense' ? ['kernels auto or sparse'] : []),
        ...(sae.dtype === 'float32' ? [] : ['dtype float32']),
        ...wanted.map(([what]) => what),
      ];
      if (all.length === 0) return undefined;
      return { value: true, message: `needs ${all.join(', ')}`, hint: 'or leave it out' };
    },
  },
  {
    keys: ['dataset_path', 'use_cached_activations'],
    check: ({ config }) =>
      config.dataset_path === '' && !config.use_cached_activations
        ? {
            message: 'is not set, and there is nothing to train on without it',
            hint: 'give a Hugging Face dataset, a local path, or bundled:english; or begin with --preset demo',
          }
        : undefined,
  },
  {
    keys: ['model_from_pretrained_kwargs'],
    check: ({ config: { model_from_pretrained_kwargs: given } }) => {
      const name = Object.keys(given).find((key) => SECRETS.includes(key));
      if (name === undefined) return undefined;
      return { message: `holds ${name}: a secret would be written into every file of the run`, hint: 'set HF_TOKEN' };
    },
  },
  {
    keys: ['dtype', 'sae.dtype'],
    check: ({ parsed }) => (parsed.sae.dtype === null && parsed.dtype === 'float16' ? HALF_FLOAT : undefined),
  },
  {
    keys: ['sae.dtype'],
    check: ({ parsed }) => (parsed.sae.dtype === 'float16' ? HALF_FLOAT : undefined),
  },
  {
    keys: ['hook_layer', 'hook_name'],
    check: ({ config, parsed: { hook_layer } }) => {
      const layer = layerOfHook(config.hook_name);
      if (hook_layer === undefined || layer === null || layer === hook_layer) return undefined;
      return {
        value: hook_layer,
        message: `${hook_layer} is not the layer of hook_name = ${show(config.hook_name)}`,
        hint: `use ${layer}, or leave hook_layer out`,
      };
    },
  },
  {
    keys: ['hook_eval'],
    check: ({ parsed: { hook_eval } }) =>
      hook_eval === undefined || hook_eval === 'NOT_IN_USE'
        ? undefined
        : {
            value: hook_eval,
            message: `${show(hook_eval)} has no effect, here or in SAELens`,
            hint: 'remove hook_eval',
          },
  },
  {
    keys: ['resume'],
    check: ({ parsed }) =>
      parsed.resume
        ? {
            value: true,
            message: 'true is not accepted, as in SAELens 5.x',
            hint: 'go on with a run by `sae-lens-ts resume RUN`; from_pretrained_path begins with a saved SAE',
          }
        : undefined,
  },
  {
    keys: ['resume_from_checkpoint', 'from_pretrained_path'],
    check: ({ config }) =>
      config.resume_from_checkpoint === null || config.from_pretrained_path === null
        ? undefined
        : {
            value: config.from_pretrained_path,
            message: 'has no effect with resume_from_checkpoint, whose weights are used',
            hint: 'set one of them to null',
          },
  },
  {
    keys: ['use_cached_activations', 'cached_activations_path'],
    check: ({ config }) =>
      config.use_cached_activations && config.cached_activations_path === null
        ? {
            value: true,
            message: 'true needs cached_activations_path, which is not set',
            hint: 'set it to the folder of the cache',
          }
        : undefined,
  },
  {
    keys: ['hook_head_index', 'use_cached_activations'],
    check: ({ config }) =>
      config.use_cached_activations && config.hook_head_index !== null
        ? {
            value: config.hook_head_index,
            message: `${config.hook_head_index} cannot be taken of a cache, which holds all heads, flattened`,
            hint: 'leave hook_head_index out',
          }
        : undefined,
  },
  {
    keys: ['sae.d_sae', 'sae.expansion_factor', 'sae.d_in'],
    check: ({ config: { sae }, isSet, parsed }) => {
      const { d_sae, expansion_factor, d_in } = parsed.sae;
      if (d_sae === null || expansion_factor === null || !isSet('sae.expansion_factor')) return undefined;
      if (d_in !== null && d_sae === d_in * expansion_factor) return undefined;
      return {
        value: sae.d_sae,
        message: `${d_sae} and expansion_factor = ${expansion_factor} cannot both be set`,
        hint: 'keep one of them',
      };
    },
  },
  {
    keys: ['sae.normalize_sae_decoder', 'sae.decoder_heuristic_init'],
    check: ({ config: { sae } }) =>
      sae.normalize_sae_decoder && sae.decoder_heuristic_init
        ? {
            value: true,
            message:
              'true undoes decoder_heuristic_init = true: rows cannot have unit norm and decoder_heuristic_init_norm',
            hint: 'set normalize_sae_decoder false, or decoder_heuristic_init false',
          }
        : undefined,
  },
  {
    keys: ['sae.normalize_sae_decoder', 'sae.scale_sparsity_penalty_by_decoder_norm'],
    check: ({ config: { sae } }) =>
      sae.normalize_sae_decoder && 'lp_norm' in sae && sae.scale_sparsity_penalty_by_decoder_norm
        ? {
            value: true,
            message: 'true makes scale_sparsity_penalty_by_decoder_norm = true meaningless: all norms are 1',
            hint: 'set normalize_sae_decoder false, or scale_sparsity_penalty_by_decoder_norm false',
          }
        : undefined,
  },
  {
    keys: ['sae.decoder_orthogonal_init', 'sae.decoder_heuristic_init'],
    check: ({ config: { sae } }) =>
      sae.decoder_orthogonal_init && sae.decoder_heuristic_init
        ? {
            value: true,
            message: 'true and decoder_heuristic_init = true are two different starts of the decoder',
            hint: 'set one of them false',
          }
        : undefined,
  },
  {
    keys: ['sae.jumprelu_init_threshold', 'sae.vocabulary'],
    check: ({ config: { sae } }) =>
      sae.vocabulary === 'v5' && 'jumprelu_init_threshold' in sae && sae.jumprelu_init_threshold === 0
        ? {
            value: 0,
            message: '0 has no logarithm, and SAELens 5.x trains the logarithm (vocabulary = v5)',
            hint: 'use a small number such as 0.001, or vocabulary v6',
          }
        : undefined,
  },
  {
    keys: ['finetuning_method', 'sae.apply_b_dec_to_input'],
    check: ({ config }) =>
      config.finetuning_method === 'decoder' && config.sae.apply_b_dec_to_input
        ? {
            value: 'decoder',
            message: '"decoder" trains b_dec, which apply_b_dec_to_input = true feeds to the encoder',
            hint: 'set apply_b_dec_to_input false',
          }
        : undefined,
  },
  {
    keys: ['finetuning_tokens', 'finetuning_method'],
    check: ({ config }) =>
      config.finetuning_tokens > 0 && config.finetuning_method === null
        ? {
            value: config.finetuning_tokens,
            message: `${config.finetuning_tokens} needs finetuning_method, which is not set`,
            hint: 'set finetuning_method to scale, decoder or unrotated_decoder, or finetuning_tokens to 0',
          }
        : undefined,
  },
  {
    keys: ['use_chat_formatting', 'is_dataset_tokenized'],
    check: ({ config }) =>
      config.use_chat_formatting && config.is_dataset_tokenized
        ? {
            value: true,
            message: 'true needs text, but is_dataset_tokenized = true',
            hint: 'set is_dataset_tokenized false, or use_chat_formatting false',
          }
        : undefined,
  },
  {
    keys: ['lr_end', 'lr', 'lr_scheduler_name', 'lr_decay_steps'],
    check: ({ config: { lr, lr_end, lr_scheduler_name, lr_decay_steps } }) => {
      if (lr_scheduler_name === 'constant' || lr_decay_steps === 0 || (lr_end > 0 && lr_end <= lr)) return undefined;
      return {
        value: lr_end,
        message:
          lr_end === 0
            ? `0 leaves nothing for lr_decay_steps = ${lr_decay_steps} to decay from`
            : `${lr_end} is more than lr = ${lr}, and lr_decay_steps = ${lr_decay_steps} decay from it`,
        hint: `use a value above 0 and at most ${lr}, or lr_decay_steps 0`,
      };
    },
  },
];
