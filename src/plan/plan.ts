import { join } from 'node:path';
import { type ResolvedConfig, scheduledSteps } from '../config/index.ts';
import { checkpointSamples } from './checkpoints.ts';
import { bufferRows, type MemoryPlan, planMemory, weightBytes } from './memory.ts';
import { runName } from './run-name.ts';

/** What a plan needs to know of the world. */
export interface PlanInputs {
  /** The date in UTC, `2026-11-23`. */
  today: string;
  /** Folder of all runs. */
  runsFolder: string;
  /** Name of the run, when the user gave one. */
  name?: string | undefined;
  /** Bytes of the language model's weights, when known. */
  modelBytes?: number | undefined;
  /** Training speed measured on this machine, when there is a measurement. */
  tokensPerSecond?: number | undefined;
}

/** Places of a run; `<n_training_samples>` folders are made below `checkpoints`. */
export interface RunPaths {
  run: string;
  checkpoints: string;
  output: string;
}

/** Everything a run will do, known before it starts. Frozen. */
export interface TrainPlan {
  runName: string;
  paths: RunPaths;
  /** Steps until every token was seen; the last batch may reach beyond the last token. */
  totalSteps: number;
  /** Steps the learning-rate schedule is made for: whole batches only, as in SAELens. */
  scheduleSteps: number;
  finetuningStartStep: number | null;
  lrWarmUpSteps: number;
  /** First step of the final decay, null without one. */
  lrDecayStartStep: number | null;
  sparsityWarmUpSteps: number;
  /** Training samples at which checkpoints are written. */
  checkpointsAtSamples: readonly number[];
  metricRows: number;
  evaluations: number;
  bufferRows: number;
  memory: MemoryPlan | null;
  checkpointBytes: number | null;
  diskBytes: number | null;
  /** Null without a measured speed. */
  durationSeconds: number | null;
}

/** Work out a run. Pure: no clock, no disk, no Python. */
export function planTraining(config: ResolvedConfig, inputs: PlanInputs): Readonly<TrainPlan> {
  const batch = config.train_batch_size_tokens;
  const tokens = config.training_tokens + config.finetuning_tokens;
  const totalSteps = Math.ceil(tokens / batch);
  const scheduleSteps = scheduledSteps(config);
  const name = inputs.name ?? runName(config, inputs.today);
  const run = join(inputs.runsFolder, name);
  const checkpointsAtSamples = checkpointSamples(config);
  const checkpointBytes = weightBytes(config);
  const nSaved = checkpointsAtSamples.length + (config.save_final_checkpoint ? 1 : 0) + 1;
  const metricRows = Math.floor(totalSteps / config.logger.wandb_log_frequency);
  const { sae } = config;
  return deepFreeze({
    runName: name,
    paths: {
      run,
      checkpoints: config.checkpoint_path === null ? join(run, 'checkpoints') : join(config.checkpoint_path, name),
      output: config.output_path ?? join(run, 'output'),
    },
    totalSteps,
    scheduleSteps,
    finetuningStartStep: config.finetuning_tokens > 0 ? Math.ceil(config.training_tokens / batch) : null,
    lrWarmUpSteps: config.lr_warm_up_steps,
    lrDecayStartStep: config.lr_decay_steps > 0 ? scheduleSteps - config.lr_decay_steps : null,
    sparsityWarmUpSteps:
      'l1_warm_up_steps' in sae ? sae.l1_warm_up_steps : 'l0_warm_up_steps' in sae ? sae.l0_warm_up_steps : 0,
    checkpointsAtSamples,
    metricRows,
    evaluations: Math.floor(metricRows / config.logger.eval_every_n_wandb_logs),
    bufferRows: bufferRows(config),
    memory: planMemory(config, inputs.modelBytes ?? null),
    checkpointBytes,
    diskBytes: checkpointBytes === null ? null : nSaved * checkpointBytes,
    durationSeconds: inputs.tokensPerSecond === undefined ? null : tokens / inputs.tokensPerSecond,
  });
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
