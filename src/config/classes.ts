import type { z } from 'zod';
import type { loggingSchema } from './logging-schema.ts';
import { parseConfigObject } from './resolve.ts';
import type { ResolvedConfig } from './resolved.ts';
import type { runnerSchema } from './runner-schema.ts';
import type { gatedSchema, jumpreluSchema, standardSchema, topkSchema } from './sae-schema.ts';

type OptionsOf<Schema extends z.ZodType> = Omit<z.input<Schema>, 'architecture'>;

type StandardOptions = OptionsOf<typeof standardSchema>;
type GatedOptions = OptionsOf<typeof gatedSchema>;
type JumpReLUOptions = OptionsOf<typeof jumpreluSchema>;
/** `activation_fn` says again what the architecture is, as the older documentation does. */
type TopKOptions = OptionsOf<typeof topkSchema> & {
  activation_fn?: 'topk' | null;
  activation_fn_kwargs?: { k: number };
};
type LoggingOptions = z.input<typeof loggingSchema>;

/** Options of an SAE trained with an L1 penalty. */
export class StandardTrainingSAEConfig {
  readonly architecture = 'standard';
  constructor(options: StandardOptions = {}) {
    Object.assign(this, options);
  }
}
export interface StandardTrainingSAEConfig extends StandardOptions {}

/** Options of a gated SAE. */
export class GatedTrainingSAEConfig {
  readonly architecture = 'gated';
  constructor(options: GatedOptions = {}) {
    Object.assign(this, options);
  }
}
export interface GatedTrainingSAEConfig extends GatedOptions {}

/** Options of a JumpReLU SAE. */
export class JumpReLUTrainingSAEConfig {
  readonly architecture = 'jumprelu';
  constructor(options: JumpReLUOptions = {}) {
    Object.assign(this, options);
  }
}
export interface JumpReLUTrainingSAEConfig extends JumpReLUOptions {}

/** Options of a top-k SAE. */
export class TopKTrainingSAEConfig {
  readonly architecture = 'topk';
  constructor(options: TopKOptions = {}) {
    Object.assign(this, options);
  }
}
export interface TopKTrainingSAEConfig extends TopKOptions {}

/** Options of logging. */
export class LoggingConfig {
  constructor(options: LoggingOptions = {}) {
    Object.assign(this, options);
  }
}
export interface LoggingConfig extends LoggingOptions {}

/** An SAE to train: an instance of a class above, or an object with `architecture`. */
export type TrainingSAEConfig =
  | StandardTrainingSAEConfig
  | GatedTrainingSAEConfig
  | JumpReLUTrainingSAEConfig
  | TopKTrainingSAEConfig;

/** What {@link LanguageModelSAERunnerConfig} takes: SAELens' options, nested as in 6.x or with the older names beside. */
export type LanguageModelSAERunnerOptions = Omit<
  z.input<typeof runnerSchema>,
  'sae' | 'logger' | 'lr_scheduler_name'
> & {
  sae: TrainingSAEConfig;
  lr_scheduler_name?: z.input<typeof runnerSchema>['lr_scheduler_name'] | 'consineannealing';
  logger?: LoggingConfig;
  /** The older name of `logger`. */
  logger_cfg?: LoggingConfig;
  /** The older place of `sae.use_ghost_grads`. */
  use_ghost_grads?: boolean;
} & LoggingOptions;

/**
 * The configuration of a training run, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export class LanguageModelSAERunnerConfig {
  constructor(options: LanguageModelSAERunnerOptions) {
    Object.assign(this, parseConfigObject(options));
  }
}
export interface LanguageModelSAERunnerConfig extends ResolvedConfig {}
