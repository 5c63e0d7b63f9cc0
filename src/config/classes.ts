import type { z } from 'zod';
import type { cacheActivationsSchema } from './cache-activations-schema.ts';
import type { evalSchema } from './evals-schema.ts';
import type { featuresSchema } from './features-schema.ts';
import type { loggingSchema } from './logging-schema.ts';
import type { pretokenizeSchema } from './pretokenize-schema.ts';
import { parseConfigObject } from './resolve.ts';
import { type RunnerKind, type RunnerOptions, resolveOptions } from './resolve-options.ts';
import type { ResolvedConfig } from './resolved.ts';
import type { runnerSchema } from './runner-schema.ts';
import type {
  Architecture,
  batchtopkSchema,
  gatedSchema,
  jumpreluSchema,
  matryoshkaSchema,
  standardSchema,
  topkSchema,
} from './sae-schema.ts';
import type { OwnTraining, SharedSae } from './saes-schema.ts';

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

/** A class of SAE options: what it is given plus its architecture. It is checked when the run is configured. */
function saeConfigClass<A extends Architecture, Options extends object>(name: string, architecture: A) {
  const made = class {
    readonly architecture = architecture;
    constructor(options: Options) {
      Object.assign(this, options);
    }
  };
  Object.defineProperty(made, 'name', { value: name });
  return made as {
    /** Takes the options of an SAE; they are checked with those of the run. */
    new (options?: Options): Options & { readonly architecture: A };
  };
}

/** Options of an SAE trained with an L1 penalty. */
export const StandardTrainingSAEConfig = saeConfigClass<'standard', StandardOptions>(
  'StandardTrainingSAEConfig',
  'standard',
);
export type StandardTrainingSAEConfig = InstanceType<typeof StandardTrainingSAEConfig>;

/** Options of a gated SAE. */
export const GatedTrainingSAEConfig = saeConfigClass<'gated', GatedOptions>('GatedTrainingSAEConfig', 'gated');
export type GatedTrainingSAEConfig = InstanceType<typeof GatedTrainingSAEConfig>;

/** Options of a JumpReLU SAE. */
export const JumpReLUTrainingSAEConfig = saeConfigClass<'jumprelu', JumpReLUOptions>(
  'JumpReLUTrainingSAEConfig',
  'jumprelu',
);
export type JumpReLUTrainingSAEConfig = InstanceType<typeof JumpReLUTrainingSAEConfig>;

/** Options of a top-k SAE. */
export const TopKTrainingSAEConfig = saeConfigClass<'topk', TopKOptions>('TopKTrainingSAEConfig', 'topk');
export type TopKTrainingSAEConfig = InstanceType<typeof TopKTrainingSAEConfig>;

type BatchTopKOptions = OptionsOf<typeof batchtopkSchema>;
/** Options of an SAE that keeps the largest latents of a whole batch. */
export const BatchTopKTrainingSAEConfig = saeConfigClass<'batchtopk', BatchTopKOptions>(
  'BatchTopKTrainingSAEConfig',
  'batchtopk',
);
export type BatchTopKTrainingSAEConfig = InstanceType<typeof BatchTopKTrainingSAEConfig>;

type MatryoshkaOptions = OptionsOf<typeof matryoshkaSchema>;
/** Options of a batch top-k SAE whose first latents alone must reconstruct too, at several widths. */
export const MatryoshkaBatchTopKTrainingSAEConfig = saeConfigClass<'matryoshka_batchtopk', MatryoshkaOptions>(
  'MatryoshkaBatchTopKTrainingSAEConfig',
  'matryoshka_batchtopk',
);
export type MatryoshkaBatchTopKTrainingSAEConfig = InstanceType<typeof MatryoshkaBatchTopKTrainingSAEConfig>;

/** Options of logging. */
export const LoggingConfig = class LoggingConfig {
  constructor(options?: LoggingOptions) {
    Object.assign(this, options);
  }
} as {
  /** Takes the options of the loggers; they are checked with those of the run. */
  new (options?: LoggingOptions): LoggingOptions;
};
export type LoggingConfig = LoggingOptions;

/** An SAE to train: an instance of a class above, or an object with `architecture`. */
export type TrainingSAEConfig =
  | StandardTrainingSAEConfig
  | GatedTrainingSAEConfig
  | JumpReLUTrainingSAEConfig
  | TopKTrainingSAEConfig
  | BatchTopKTrainingSAEConfig
  | MatryoshkaBatchTopKTrainingSAEConfig;

type AnySaeOptions = Partial<
  StandardOptions & GatedOptions & JumpReLUOptions & OptionsOf<typeof topkSchema> & BatchTopKOptions & MatryoshkaOptions
> & {
  architecture?: Architecture;
};

/** One of several SAEs of a run: what it has otherwise than `sae` and the options of training say for all. */
export type NamedSAEConfig = (TrainingSAEConfig | Omit<AnySaeOptions, SharedSae>) &
  Partial<Pick<z.input<typeof runnerSchema>, OwnTraining>>;

/** What {@link LanguageModelSAERunnerConfig} takes: SAELens' options, nested as in 6.x, older names beside them. */
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

/** The same for several SAEs on one pass of the language model, by name. */
export type MultiSAETrainingRunnerOptions = Omit<LanguageModelSAERunnerOptions, 'sae'> & {
  saes: Readonly<Record<string, NamedSAEConfig>>;
  /** What all of them begin with. */
  sae?: TrainingSAEConfig | AnySaeOptions;
};

/**
 * The configuration of a training run, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export const LanguageModelSAERunnerConfig = class LanguageModelSAERunnerConfig {
  constructor(options: LanguageModelSAERunnerOptions | MultiSAETrainingRunnerOptions) {
    Object.assign(this, parseConfigObject(options));
  }
} as {
  /** @throws SaeLensError `CONFIG_INVALID` with all problems at once. */
  new (options: LanguageModelSAERunnerOptions | MultiSAETrainingRunnerOptions): ResolvedConfig;
};
export type LanguageModelSAERunnerConfig = ResolvedConfig;

/** A class of runner options: what it is given, checked and complete. */
function runnerConfigClass<K extends RunnerKind, Options extends object>(name: string, kind: K) {
  const made = class {
    constructor(options: Options) {
      const layer = { kind: 'object', source: 'the configuration', value: options } as const;
      Object.assign(this, resolveOptions(kind, [layer]).config);
    }
  };
  Object.defineProperty(made, 'name', { value: name });
  return made as {
    /** @throws SaeLensError `CONFIG_INVALID` with all problems at once. */
    new (options: Options): RunnerOptions[K];
  };
}

/** What {@link PretokenizeRunnerConfig} takes: SAELens' options. */
export type PretokenizeRunnerOptions = z.input<typeof pretokenizeSchema>;

/**
 * The configuration of a pretokenizing run, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export const PretokenizeRunnerConfig = runnerConfigClass<'pretokenize', PretokenizeRunnerOptions>(
  'PretokenizeRunnerConfig',
  'pretokenize',
);
export type PretokenizeRunnerConfig = InstanceType<typeof PretokenizeRunnerConfig>;

/** What {@link CacheActivationsRunnerConfig} takes: SAELens' options, those of training that a cache needs beside them. */
export type CacheActivationsRunnerOptions = z.input<typeof cacheActivationsSchema>;

/**
 * The configuration of a caching run, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export const CacheActivationsRunnerConfig = runnerConfigClass<'cache-activations', CacheActivationsRunnerOptions>(
  'CacheActivationsRunnerConfig',
  'cache-activations',
);
export type CacheActivationsRunnerConfig = InstanceType<typeof CacheActivationsRunnerConfig>;

/** What {@link EvalConfig} takes: SAELens' options, those of the text beside them. */
export type EvalOptions = z.input<typeof evalSchema>;

/**
 * What is computed of SAEs and on what, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export const EvalConfig = runnerConfigClass<'eval', EvalOptions>('EvalConfig', 'eval');
export type EvalConfig = InstanceType<typeof EvalConfig>;

/** What {@link FeaturesConfig} takes: names of SAEDashboard where it has them. */
export type FeaturesOptions = z.input<typeof featuresSchema>;

/**
 * What is shown of the latents of an SAE and on what text, checked and complete from the moment it is made.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once.
 */
export const FeaturesConfig = runnerConfigClass<'features', FeaturesOptions>('FeaturesConfig', 'features');
export type FeaturesConfig = InstanceType<typeof FeaturesConfig>;
