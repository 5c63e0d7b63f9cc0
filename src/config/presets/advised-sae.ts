import type { Architecture } from '../sae-schema.ts';

/** Options of an SAE of one architecture, and why. */
export interface AdvisedSae {
  readonly sae: Readonly<Record<string, unknown>>;
  readonly why: Readonly<Record<string, string>>;
}

const SAELENS = 'as in the SAELens guide "Training Sparse Autoencoders"';
const ANTHROPIC = "Anthropic's January 2025 update, as the SAELens guide has it for normalized activations";

const L1: AdvisedSae = { sae: { l1_coefficient: 5 }, why: { 'sae.l1_coefficient': `${SAELENS}; more is sparser` } };
const TOPK: AdvisedSae = {
  sae: { k: 32, aux_loss_coefficient: 0.03125 },
  why: {
    'sae.k': 'usual are 16 to 128',
    'sae.aux_loss_coefficient': '1/32, as Gao et al. (arXiv 2406.04093) and Bussmann et al. (arXiv 2412.06410)',
  },
};

/** What SAELens' guide and the papers advise, by what depends on the run: its width and its steps. */
export function advisedSae(architecture: Architecture, dSae: number, totalSteps: number): AdvisedSae {
  const { sae, why } = BY_ARCHITECTURE[architecture](dSae, totalSteps);
  return {
    sae: { architecture, d_sae: dSae, ...sae, normalize_activations: 'expected_average_only_in' },
    why: { ...why, 'sae.normalize_activations': 'helps every architecture to converge, by the SAELens guide' },
  };
}

const BY_ARCHITECTURE: Readonly<Record<Architecture, (dSae: number, totalSteps: number) => AdvisedSae>> = {
  standard: () => L1,
  gated: () => L1,
  topk: () => TOPK,
  batchtopk: () => TOPK,
  jumprelu: (_, totalSteps) => ({
    sae: {
      l0_coefficient: 5,
      l0_warm_up_steps: totalSteps,
      jumprelu_sparsity_loss_mode: 'tanh',
      jumprelu_bandwidth: 2,
      jumprelu_init_threshold: 0.1,
      pre_act_loss_coefficient: 3e-6,
    },
    why: {
      'sae.l0_coefficient': `${SAELENS}; more is sparser`,
      'sae.l0_warm_up_steps': 'the whole run, as Anthropic advises',
      'sae.jumprelu_sparsity_loss_mode': 'easier to train than step, which wants two billion tokens',
      'sae.jumprelu_bandwidth': ANTHROPIC,
      'sae.jumprelu_init_threshold': ANTHROPIC,
      'sae.pre_act_loss_coefficient': ANTHROPIC,
    },
  }),
  matryoshka_batchtopk: (dSae) => ({
    sae: { ...TOPK.sae, k: 40, matryoshka_widths: [256, 64, 16, 4, 1].map((part) => Math.ceil(dSae / part)) },
    why: {
      ...TOPK.why,
      'sae.k': 'as in the Matryoshka SAEs of Gemma 2 2B that were trained with SAELens',
      'sae.matryoshka_widths': 'each four times the one before: 128 to 32 768 in those SAEs',
    },
  }),
};
