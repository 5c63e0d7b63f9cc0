export {
  BatchTopKTrainingSAEConfig,
  CacheActivationsRunnerConfig,
  type CacheActivationsRunnerOptions,
  EvalConfig,
  type EvalOptions,
  FeaturesConfig,
  type FeaturesOptions,
  GatedTrainingSAEConfig,
  JumpReLUTrainingSAEConfig,
  LanguageModelSAERunnerConfig,
  type LanguageModelSAERunnerOptions,
  LoggingConfig,
  MatryoshkaBatchTopKTrainingSAEConfig,
  type MultiSAETrainingRunnerOptions,
  type NamedSAEConfig,
  PretokenizeRunnerConfig,
  type PretokenizeRunnerOptions,
  StandardTrainingSAEConfig,
  TopKTrainingSAEConfig,
  type TrainingSAEConfig,
} from './classes.ts';
export { environmentLayer } from './environment.ts';
export { COMPUTE_FLAGS, EVAL_METRICS, metricsNamed } from './eval-metrics.ts';
export { fileLayer } from './file.ts';
export { type Difference, differencesOf } from './from-differences.ts';
export { fromLayer } from './from-layer.ts';
export type { Layer, Provenance } from './layer.ts';
export { PRESETS, presetLayer } from './presets/index.ts';
export { parseConfigObject, type Resolution, resolveConfig } from './resolve.ts';
export { type RunnerOptions, resolveOptions } from './resolve-options.ts';
export type { ResolvedConfig, ResolvedNamedSae } from './resolved.ts';
export { stretchesOf } from './rules-features.ts';
export { scheduledSteps, slicedContextSize } from './rules-quantity.ts';
export { configsOf } from './several.ts';
