import type { z } from 'zod';
import type { loggingSchema } from './logging-schema.ts';
import type { runnerSchema } from './runner-schema.ts';
import type {
  batchtopkSchema,
  gatedSchema,
  jumpreluSchema,
  matryoshkaSchema,
  standardSchema,
  topkSchema,
} from './sae-schema.ts';
import type { OwnTraining, SharedSae } from './saes-schema.ts';

/** T without the null of those keys that are found when they are not given. */
export type Filled<T, K extends keyof T> = Omit<T, K> & { [P in K]: NonNullable<T[P]> };

export type ResolvedStandardSAE = Filled<
  z.output<typeof standardSchema>,
  'dtype' | 'device' | 'scale_sparsity_penalty_by_decoder_norm'
>;
export type ResolvedGatedSAE = Filled<z.output<typeof gatedSchema>, 'dtype' | 'device'>;
export type ResolvedJumpReLUSAE = Filled<z.output<typeof jumpreluSchema>, 'dtype' | 'device'>;
export type ResolvedTopKSAE = Filled<z.output<typeof topkSchema>, 'dtype' | 'device'>;
export type ResolvedBatchTopKSAE = Filled<z.output<typeof batchtopkSchema>, 'dtype' | 'device'>;
export type ResolvedMatryoshkaSAE = Filled<z.output<typeof matryoshkaSchema>, 'dtype' | 'device'>;
export type ResolvedSAE =
  | ResolvedStandardSAE
  | ResolvedGatedSAE
  | ResolvedJumpReLUSAE
  | ResolvedTopKSAE
  | ResolvedBatchTopKSAE
  | ResolvedMatryoshkaSAE;

/** T without keys, where T is one of several. */
type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** One of several SAEs of a run: its options, and those of training that it has for itself. */
export type ResolvedNamedSae = Without<ResolvedSAE, SharedSae> & Readonly<Pick<ResolvedConfig, OwnTraining>>;

/** What the schema makes of the merged layers, before defaults that depend on other options are found. */
export type ParsedConfig = z.output<typeof runnerSchema>;

/**
 * The configuration of a run, complete: exactly what crosses to the worker (pyworker/protocol/config.py), once for each
 * of several SAEs.
 * Every key is there; `null` means "none" and never "find it", but for `d_in` and `d_sae`, which the model decides.
 */
export type ResolvedConfig = Filled<
  Omit<ParsedConfig, 'sae' | 'prefetch_llm_batches' | 'hook_layer' | 'hook_eval' | 'resume'>,
  'lr_end' | 'llm_device' | 'act_store_device' | 'eval_batch_size_prompts' | 'model_from_pretrained_kwargs'
> & {
  sae: ResolvedSAE;
  /** Several SAEs by name, each complete; `sae` is then trained by none, and says only what they have in common. */
  saes?: Readonly<Record<string, ResolvedNamedSae>>;
  logger: z.output<typeof loggingSchema>;
  prefetch_llm_batches: number;
};
