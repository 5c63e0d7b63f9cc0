import { z } from 'zod';
import { count, device, dtype, kwargs, nonNegative, option, positive, positiveInt } from './option.ts';

/** Options every architecture has. */
export const sharedSaeShape = {
  vocabulary: option(z.enum(['v5', 'v6']).default('v6'), {
    description:
      'Which SAELens generation decides what has no option of its own: how JumpReLU stores its threshold, ' +
      'whether the top-k auxiliary loss decodes with b_dec, how the norm estimate averages, the order of random draws.',
    computed: 'v5 for a flat 5.x configuration, else v6',
    v5: 'v5',
  }),
  d_in: option(positiveInt().nullable().default(null), {
    description: 'Width of the activations at hook_name.',
    computed: 'read from the model',
    v5: 512,
  }),
  d_sae: option(positiveInt().nullable().default(null), {
    description: 'Number of latents.',
    computed: 'expansion_factor × d_in',
  }),
  expansion_factor: option(positiveInt().nullable().default(null), {
    description: 'Number of latents as a multiple of d_in; instead of d_sae.',
    computed: '4 when d_sae is not set',
  }),
  dtype: option(dtype().nullable().default(null), {
    description: 'Number type of the SAE weights.',
    computed: 'the dtype of the run',
    filled: true,
  }),
  device: option(device().nullable().default(null), {
    description: 'Device of the SAE.',
    computed: 'the device of the run',
    filled: true,
  }),
  apply_b_dec_to_input: option(z.boolean().default(true), {
    description: 'Subtract the decoder bias from the input before encoding.',
  }),
  normalize_activations: option(
    z
      .enum(['none', 'expected_average_only_in', 'constant_norm_rescale', 'layer_norm', 'covariance_whitening'])
      .meta({ title: 'NormalizeActivations' })
      .default('none'),
    { description: 'How activations are normalized before they enter the SAE.' },
  ),
  reshape_activations: option(z.enum(['none', 'hook_z']).default('none'), {
    description: 'hook_z flattens the heads of an attention output.',
  }),
  decoder_init_norm: option(nonNegative().nullable().default(0.1), {
    description:
      'Norm that the rows of a Kaiming-uniform decoder are scaled to at the start; null leaves them as drawn.',
    computed: '0.1, or null when another decoder initialization is chosen',
    v5: null,
  }),
  decoder_heuristic_init: option(z.boolean().default(false), {
    description: 'Draw the decoder from N(0, 1) and scale its rows to decoder_heuristic_init_norm.',
  }),
  decoder_heuristic_init_norm: option(positive().default(0.1), {
    description: 'Row norm for decoder_heuristic_init.',
  }),
  decoder_orthogonal_init: option(z.boolean().default(false), {
    description: 'Start from a decoder with orthonormal columns.',
  }),
  init_encoder_as_decoder_transpose: option(z.boolean().default(true), {
    description: 'Start the encoder as the transpose of the decoder.',
    v5: false,
  }),
  normalize_sae_decoder: option(z.boolean().default(false), {
    description: 'Keep the rows of the decoder at unit norm, at the start and before every step.',
    v5: true,
  }),
  mse_loss_normalization: option(z.enum(['dense_batch']).nullable().default(null), {
    description: 'dense_batch divides the squared error of a row by the norm of its distance from the batch mean.',
  }),
  b_dec_init_method: option(z.enum(['zeros', 'mean', 'geometric_median']).default('zeros'), {
    description: 'Start of the decoder bias: zeros, or the mean or geometric median of a buffer of activations.',
    v5: 'geometric_median',
  }),
  noise_scale: option(nonNegative().default(0), {
    description: 'Standard deviation of Gaussian noise added to the pre-activations while training.',
  }),
  kernels: option(z.enum(['auto', 'dense', 'sparse', 'measured']).meta({ title: 'Kernels' }).default('auto'), {
    description:
      'How a training step works: sparse keeps only the latents of each row that matter, dense a matrix of all. The same sums in ' +
      'another order. auto takes sparse where it is faster, on a CPU in float32 or float64 without noise and compilation: with a ' +
      'fixed k from 8 latents for each active one, else dense until the measured density is small. On CUDA, with a fixed k in ' +
      'float32, from 40, with autocast from 300: by arithmetic, no GPU was measured. measured times both at this shape on this machine, ' +
      'once: what it found is kept, so that later runs here choose alike; on another machine they may not.',
  }),
};

const standardShape = {
  ...sharedSaeShape,
  activation_fn: option(z.enum(['relu', 'tanh-relu', 'topk', 'gelu']).default('relu'), {
    description: 'Activation function of the latents.',
  }),
  activation_fn_kwargs: option(kwargs().default({}), {
    description: 'Arguments of the activation function: {"k": 100} for topk.',
    computed: '{"k": 100} for topk, else {}',
  }),
  l1_coefficient: option(nonNegative().default(1), { description: 'Weight of the sparsity penalty.', v5: 0.001 }),
  lp_norm: option(positive().default(1), { description: 'The p of the L_p norm in the sparsity penalty.' }),
  l1_warm_up_steps: option(count().default(0), {
    description: 'Steps over which l1_coefficient grows from 0.',
    unit: 'steps',
  }),
  scale_sparsity_penalty_by_decoder_norm: option(z.boolean().nullable().default(null), {
    description: 'Weight each latent in the sparsity penalty by the norm of its decoder row.',
    computed: 'true, or false when normalize_sae_decoder is on',
    filled: true,
    v5: false,
  }),
  use_ghost_grads: option(z.boolean().default(false), {
    description: 'Give dead latents a gradient from the error that is left over.',
  }),
};

const gatedShape = {
  ...sharedSaeShape,
  l1_coefficient: standardShape.l1_coefficient,
  l1_warm_up_steps: standardShape.l1_warm_up_steps,
};

const jumpreluShape = {
  ...sharedSaeShape,
  jumprelu_init_threshold: option(nonNegative().default(0.01), {
    description: 'Threshold of every latent at the start.',
    v5: 0.001,
  }),
  jumprelu_bandwidth: option(positive().default(0.05), {
    description: 'Width of the window in which a threshold receives a gradient.',
    v5: 0.001,
  }),
  jumprelu_sparsity_loss_mode: option(z.enum(['step', 'tanh', 'quadratic']).default('step'), {
    description: 'Form of the sparsity penalty.',
  }),
  l0_coefficient: option(nonNegative().default(1), { description: 'Weight of the sparsity penalty.', v5: 0.001 }),
  l0_warm_up_steps: option(count().default(0), {
    description: 'Steps over which l0_coefficient grows from 0.',
    unit: 'steps',
  }),
  pre_act_loss_coefficient: option(nonNegative().nullable().default(null), {
    description: 'Weight of a loss that pulls the pre-activations of dead latents up; null leaves it out.',
  }),
  jumprelu_tanh_scale: option(positive().default(4), { description: 'Slope of the tanh penalty.' }),
  jumprelu_ste_to_input: option(z.boolean().default(false), {
    description: 'Let the straight-through gradient of the threshold reach the pre-activations too.',
  }),
  target_l0: option(positive().nullable().default(null), {
    description: 'Wanted number of active latents; for the quadratic penalty, which needs it.',
    unit: 'latents',
  }),
};

const topkShape = {
  ...sharedSaeShape,
  k: option(positiveInt().default(100), { description: 'Latents kept active for each token.', unit: 'latents' }),
  use_sparse_activations: option(z.boolean().default(false), {
    description: "SAELens' name for kernels: sparse.",
  }),
  aux_loss_coefficient: option(nonNegative().default(1), {
    description: 'Weight of the loss that lets dead latents explain the error that is left over.',
  }),
  rescale_acts_by_decoder_norm: option(z.boolean().default(true), {
    description: 'Choose the top k by activation times decoder norm.',
    v5: false,
  }),
};

const topkOnlyShape = {
  ...topkShape,
  two_stage_selection: option(z.boolean().default(false), {
    description:
      'Find the k largest latents with a product in bfloat16, then exactly among those that its error leaves open: the latents ' +
      'are the same. Pays where the processor multiplies bfloat16. For float32 and work by index; with autocast it is always so.',
  }),
};

const batchtopkShape = {
  ...topkShape,
  k: option(positive().default(100), {
    description:
      'Latents kept active for each token: a whole number for topk, an average over the batch for the others.',
    unit: 'latents',
  }),
  topk_threshold_lr: option(z.number().gt(0).max(1).default(0.01), {
    description:
      'How fast the threshold of the finished SAE follows the smallest latent that a batch lets through; it starts at 0, as in SAELens.',
  }),
};

const matryoshkaShape = {
  ...batchtopkShape,
  matryoshka_widths: option(z.array(positiveInt()).default([]), {
    description: 'Widths whose first latents alone must reconstruct; d_sae is added when it is not the last.',
    unit: 'latents',
  }),
  use_matryoshka_aux_loss: option(z.boolean().default(false), {
    description: 'Dead latents explain what their own level leaves over, not what the whole SAE does.',
  }),
};

/** Options of each architecture; the key is the value of `architecture`. */
export const saeShapes = {
  standard: standardShape,
  gated: gatedShape,
  jumprelu: jumpreluShape,
  topk: topkOnlyShape,
  batchtopk: batchtopkShape,
  matryoshka_batchtopk: matryoshkaShape,
} as const;

export type Architecture = keyof typeof saeShapes;
export const ARCHITECTURES = Object.keys(saeShapes) as Architecture[];
/** SAELens trains these too. */
export const NOT_BUILT_YET = ['abstopk', 'transcoder', 'skip_transcoder'];

export const standardSchema = z.strictObject({ architecture: z.literal('standard'), ...standardShape });
export const gatedSchema = z.strictObject({ architecture: z.literal('gated'), ...gatedShape });
export const jumpreluSchema = z.strictObject({ architecture: z.literal('jumprelu'), ...jumpreluShape });
export const topkSchema = z.strictObject({ architecture: z.literal('topk'), ...topkOnlyShape });

export const batchtopkSchema = z.strictObject({ architecture: z.literal('batchtopk'), ...batchtopkShape });
export const matryoshkaSchema = z.strictObject({
  architecture: z.literal('matryoshka_batchtopk'),
  ...matryoshkaShape,
});

/** The SAE: `architecture` picks the member. */
export const trainingSaeSchema = z.discriminatedUnion('architecture', [
  standardSchema,
  gatedSchema,
  jumpreluSchema,
  topkSchema,
  batchtopkSchema,
  matryoshkaSchema,
]);
