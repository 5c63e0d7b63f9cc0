import type { ResolvedConfig } from './resolved.ts';
import type { Rule } from './rule.ts';

/** Positions that `seqpos_slice` keeps of `context_size`, by Python's rules for slices. */
export function slicedContextSize(config: Pick<ResolvedConfig, 'seqpos_slice' | 'context_size'>): number {
  const given = config.seqpos_slice;
  const size = config.context_size;
  const [start, stop, step] = given.length === 1 ? [null, given[0], null] : given;
  const bound = (value: number | null | undefined, otherwise: number) => {
    if (value === null || value === undefined) return otherwise;
    return Math.min(Math.max(value < 0 ? value + size : value, 0), size);
  };
  return Math.max(0, Math.ceil((bound(stop, size) - bound(start, 0)) / Math.max(step ?? 1, 1)));
}

/** Steps the schedules are made for: whole batches in the tokens of both phases. */
export function scheduledSteps(
  config: Pick<ResolvedConfig, 'training_tokens' | 'finetuning_tokens' | 'train_batch_size_tokens'>,
): number {
  return Math.floor((config.training_tokens + config.finetuning_tokens) / config.train_batch_size_tokens);
}

/** Numbers that do not fit each other. */
export const quantityRules: readonly Rule[] = [
  {
    keys: ['seqpos_slice', 'context_size'],
    check: ({ config }) => {
      const step = config.seqpos_slice[2] ?? 1;
      if (step < 1) return { value: step, message: `steps by ${step}; the step must be at least 1`, hint: 'use 1' };
      if (slicedContextSize(config) > 0) return undefined;
      return {
        value: config.seqpos_slice,
        message: `[${config.seqpos_slice.map(String).join(', ')}] keeps no position of context_size = ${config.context_size}`,
        hint: `use positions from 0 to ${config.context_size}, for example [0, ${config.context_size}]`,
      };
    },
  },
  {
    keys: ['context_size', 'prepend_bos'],
    check: ({ config }) =>
      config.context_size > 1 || !config.prepend_bos
        ? undefined
        : { value: 1, message: '1 leaves no room beside the BOS token', hint: 'use at least 2, or prepend_bos false' },
  },
  {
    keys: ['context_size', 'training_tokens'],
    check: ({ config: { context_size, training_tokens } }) =>
      context_size <= training_tokens
        ? undefined
        : {
            value: context_size,
            message: `${context_size} is more than training_tokens = ${training_tokens}`,
            hint: `use at most ${training_tokens}, or raise training_tokens`,
          },
  },
  {
    keys: ['training_tokens', 'train_batch_size_tokens'],
    check: ({ config: { training_tokens, train_batch_size_tokens } }) =>
      training_tokens >= train_batch_size_tokens
        ? undefined
        : {
            value: training_tokens,
            message: `${training_tokens} is less than one batch, train_batch_size_tokens = ${train_batch_size_tokens}`,
            hint: `use at least ${train_batch_size_tokens}, or lower train_batch_size_tokens`,
          },
  },
  {
    keys: ['finetuning_tokens', 'train_batch_size_tokens'],
    check: ({ config: { finetuning_tokens, train_batch_size_tokens } }) =>
      finetuning_tokens === 0 || finetuning_tokens >= train_batch_size_tokens
        ? undefined
        : {
            value: finetuning_tokens,
            message: `${finetuning_tokens} is less than one batch, train_batch_size_tokens = ${train_batch_size_tokens}`,
            hint: `use 0 or at least ${train_batch_size_tokens}, or lower train_batch_size_tokens`,
          },
  },
  {
    keys: [
      'n_batches_in_buffer',
      'train_batch_size_tokens',
      'store_batch_size_prompts',
      'context_size',
      'seqpos_slice',
    ],
    check: ({ config }) => {
      const perBatch = config.store_batch_size_prompts * slicedContextSize(config);
      const rows = config.n_batches_in_buffer * perBatch;
      if (perBatch === 0 || rows >= config.train_batch_size_tokens) return undefined;
      return {
        value: config.n_batches_in_buffer,
        message:
          `${config.n_batches_in_buffer} gives a buffer of ${rows} activations, less than ` +
          `train_batch_size_tokens = ${config.train_batch_size_tokens}`,
        hint: `use at least ${Math.ceil(config.train_batch_size_tokens / perBatch)}, or lower train_batch_size_tokens to ${rows}`,
      };
    },
  },
  {
    keys: [
      'lr_warm_up_steps',
      'lr_decay_steps',
      'training_tokens',
      'finetuning_tokens',
      'train_batch_size_tokens',
      'lr_scheduler_name',
      'n_restart_cycles',
    ],
    check: ({ config }) => {
      const steps = scheduledSteps(config);
      const base = steps - config.lr_warm_up_steps - config.lr_decay_steps;
      if (steps < 1) return undefined;
      const sum = `${config.lr_warm_up_steps} and lr_decay_steps = ${config.lr_decay_steps}`;
      if (base < 0) {
        return {
          value: config.lr_warm_up_steps,
          message: `${sum} are together more than the ${stepsInWords(config)}`,
          hint: `use at most ${steps} together, or raise training_tokens`,
        };
      }
      const needed = stepsOfShape(config);
      if (base >= needed) return undefined;
      return {
        value: config.lr_warm_up_steps,
        message: `${sum} leave ${base} of the ${stepsInWords(config)} for ${config.lr_scheduler_name}, which needs ${needed}`,
        hint: `use at most ${Math.max(steps - needed, 0)} together`,
      };
    },
  },
  {
    keys: ['sae.l1_warm_up_steps', 'training_tokens', 'finetuning_tokens', 'train_batch_size_tokens'],
    check: ({ config }) =>
      'l1_warm_up_steps' in config.sae ? tooLong(config, config.sae.l1_warm_up_steps) : undefined,
  },
  {
    keys: ['sae.l0_warm_up_steps', 'training_tokens', 'finetuning_tokens', 'train_batch_size_tokens'],
    check: ({ config }) =>
      'l0_warm_up_steps' in config.sae ? tooLong(config, config.sae.l0_warm_up_steps) : undefined,
  },
  {
    keys: ['sae.k', 'sae.d_sae', 'sae.d_in', 'sae.expansion_factor'],
    check: ({ config: { sae } }) => ('k' in sae ? tooManyLatents(sae.k, sae.d_sae) : undefined),
  },
  {
    keys: ['sae.activation_fn_kwargs', 'sae.activation_fn', 'sae.d_sae', 'sae.d_in', 'sae.expansion_factor'],
    check: ({ config: { sae } }) => {
      if (!('activation_fn' in sae) || sae.activation_fn !== 'topk') return undefined;
      const { k, ...others } = sae.activation_fn_kwargs;
      const alone = Object.keys(others).length === 0;
      if (alone && typeof k === 'number' && Number.isInteger(k) && k > 0) return tooManyLatents(k, sae.d_sae);
      return {
        value: sae.activation_fn_kwargs,
        message: 'must hold a whole number k for activation_fn topk, and nothing else',
        hint: 'for example {"k": 100}',
      };
    },
  },
  {
    keys: ['sae.matryoshka_widths', 'sae.d_sae', 'sae.d_in', 'sae.expansion_factor'],
    check: ({ config: { sae } }) => {
      if (!('matryoshka_widths' in sae)) return undefined;
      const widths = sae.matryoshka_widths;
      const value = widths;
      if (widths.length === 0) return { message: 'is not set', hint: 'name some, for example [128, 512, 2048]' };
      if (widths.some((width, at) => width <= (widths[at - 1] ?? 0))) {
        return { value, message: 'must grow from one to the next', hint: 'for example [128, 512, 2048]' };
      }
      const last = widths.at(-1) as number;
      if (sae.d_sae !== null && last > sae.d_sae)
        return { value, message: `${last} is more than d_sae = ${sae.d_sae}` };
      return undefined;
    },
  },
  {
    keys: ['sae.target_l0', 'sae.d_sae', 'sae.d_in', 'sae.expansion_factor', 'sae.jumprelu_sparsity_loss_mode'],
    check: ({ config: { sae } }) => {
      if (!('target_l0' in sae) || sae.jumprelu_sparsity_loss_mode !== 'quadratic') return undefined;
      if (sae.target_l0 !== null) return tooManyLatents(sae.target_l0, sae.d_sae);
      return {
        value: null,
        message: 'is not set, and jumprelu_sparsity_loss_mode = quadratic needs it',
        hint: `use a number above 0, usually 16 to 128`,
      };
    },
  },
];

/** The plan counts every step; a schedule has no room in one whose batch reaches beyond the last token. */
function stepsInWords(config: ResolvedConfig): string {
  const steps = scheduledSteps(config);
  const all = Math.ceil((config.training_tokens + config.finetuning_tokens) / config.train_batch_size_tokens);
  return steps === all ? `${steps} steps of the run` : `${steps} whole batches in the ${all} steps of the run`;
}

/** Steps the shape between warm-up and decay needs at least. */
function stepsOfShape(config: ResolvedConfig): number {
  if (config.lr_scheduler_name === 'cosineannealingwarmrestarts') return config.n_restart_cycles;
  return config.lr_scheduler_name === 'cosineannealing' && config.lr_decay_steps === 0 ? 1 : 0;
}

function tooLong(config: ResolvedConfig, warmUp: number) {
  const steps = scheduledSteps(config);
  if (warmUp <= steps || steps < 1) return undefined;
  return {
    value: warmUp,
    message: `${warmUp} is more than the ${stepsInWords(config)} (training_tokens / train_batch_size_tokens)`,
    hint: `use at most ${steps}, or raise training_tokens`,
  };
}

function tooManyLatents(k: number, dSae: number | null) {
  if (dSae === null || k <= dSae) return undefined;
  const usually = dSae >= 1024 ? ', usually 16 to 128' : '';
  return { value: k, message: `${k} is more than d_sae = ${dSae}`, hint: `use a value from 1 to ${dSae}${usually}` };
}
