/**
 * Everything that the package exports.
 *
 * @module API
 */

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
  PRESETS,
  PretokenizeRunnerConfig,
  type PretokenizeRunnerOptions,
  type Provenance,
  type ResolvedConfig,
  type ResolvedNamedSae,
  StandardTrainingSAEConfig,
  TopKTrainingSAEConfig,
  type TrainingSAEConfig,
} from './config/index.ts';
export { ERROR_CODES, type ErrorCode, ExitCode, SaeLensError, type SaeLensErrorOptions } from './errors.ts';
export type { About as FeaturesAbout } from './features/format.ts';
export { createLogger, type Logger, type LogLevel } from './log.ts';
export type { TrainPlan } from './plan/plan.ts';
export { repairCache, type VerifiedCache, verifyCache } from './runners/cache.ts';
export {
  type CacheActivationsOptions,
  type CacheActivationsResult,
  CacheActivationsRunner,
} from './runners/cache-activations.ts';
export type { CacheEvent } from './runners/cache-events.ts';
export { type CacheInfo, cacheInfo } from './runners/cache-info.ts';
export { type ConfigChanges, configFrom } from './runners/config-from.ts';
export { type DatasetLook, type PeekOptions, peekDataset } from './runners/datasets.ts';
export { type DownloadSaeOptions, downloadSaeFromHuggingface, publishedSaes } from './runners/download.ts';
export { type EvalEvent, type EvalResult, type RunEvalsOptions, runEvals } from './runners/evals.ts';
export {
  type CollectedFeatures,
  type CollectFeaturesOptions,
  collectFeatures,
  type FeaturesEvent,
} from './runners/features.ts';
export { type PretokenizedDataset, pretokenizedDatasets } from './runners/prepared-datasets.ts';
export {
  type PretokenizeOptions,
  type PretokenizeResult,
  PretokenizeRun,
  PretokenizeRunner,
} from './runners/pretokenize.ts';
export type { PretokenizeEvent } from './runners/pretokenize-events.ts';
export { pretrainedReleases, type ReleaseSummary } from './runners/pretrained.ts';
export { python } from './runners/python.ts';
export type { RunPicture } from './runners/run-picture.ts';
export { SAETrainingRunner } from './runners/training.ts';
export type { TrainingOptions } from './runners/training-options.ts';
export { type Metrics, type TrainingResult, TrainingRun } from './runners/training-run.ts';
export { type UploadOptions, type UploadResult, uploadSaesToHuggingface } from './runners/upload.ts';
export { startWorker } from './sae/lease.ts';
export type { Rows } from './sae/rows.ts';
export { type LoadOptions, type PretrainedOptions, SAE, type SaeConfigDict } from './sae/sae.ts';
export { JsonSink } from './sinks/json.ts';
export type { RunEvent, RunHeader, RunSummary, Sink } from './sinks/sink.ts';
export { TerminalSink } from './sinks/terminal.ts';
export type { FedActivations } from './stream/activation-feed.ts';
export type { ActivationBatch } from './stream/activation-tap.ts';
export { VERSION } from './version.ts';
export { type PythonObject, PythonSession } from './worker/pythonia.ts';
export type { Worker } from './worker/worker.ts';
