import { configsOf, type ResolvedConfig, scheduledSteps } from '../config/index.ts';
import { checkpointSamples } from './checkpoints.ts';
import {
  bufferRows,
  type MemoryPlan,
  planMemory,
  planMemoryTogether,
  trainingStateBytes,
  weightBytes,
} from './memory.ts';

/** What was measured or seen beforehand; a plan without it leaves the matter open. */
export interface Measurements {
  /** Bytes of the language model's weights. */
  modelBytes?: number;
  /** Training speed on this machine. */
  tokensPerSecond?: number;
}

/** What a run will write. */
export interface DiskPlan {
  /** Checkpoints and the finished SAE. */
  nSaved: number;
  /** One of them; null while d_in is not known. */
  savedBytes: number | null;
  /** What each of the `nResumable` checkpoints before the end holds besides, to go on from; null as above. */
  stateBytes: number | null;
  nResumable: number;
  /** All that is known to be written; without the saved SAEs while d_in is not known. */
  totalBytes: number;
}

/** Everything a run will do, known before it starts. Frozen. */
export interface TrainPlan {
  /** Steps until every token was seen; the last batch may reach beyond the last token. */
  totalSteps: number;
  /** Steps the learning-rate schedule is made for: whole batches only, as in SAELens. */
  scheduleSteps: number;
  /** First step of the fine-tuning phase, null without one. */
  finetuningStartStep: number | null;
  lrWarmUpSteps: number;
  /** First step of the final decay, null without one. */
  lrDecayStartStep: number | null;
  sparsityWarmUpSteps: number;
  /** Training samples at which checkpoints are written. */
  checkpointsAtSamples: readonly number[];
  metricRows: number;
  evaluations: number;
  /** Activations in the mixing buffer. */
  bufferRows: number;
  /** Null while d_in is read from the model. */
  memory: MemoryPlan | null;
  disk: DiskPlan;
  /** Null without a measured speed. */
  durationSeconds: number | null;
  /** Of several SAEs the plan of each by its name, as of a run of its own; above is then what they need together. */
  saes?: Readonly<Record<string, Readonly<TrainPlan>>>;
}

/** A row of metrics in metrics.jsonl, as seen. */
const METRIC_ROW_BYTES = 1000;

/** Work out a run. Pure: no clock, no disk, no Python. */
export function planTraining(config: ResolvedConfig, measured: Measurements = {}): Readonly<TrainPlan> {
  const plans = [...configsOf(config)].map(([name, one]) => [name, planOne(one, measured)] as const);
  const [[, first]] = plans as unknown as [[string, TrainPlan]];
  if (config.saes === undefined) return deepFreeze(first);
  const each = plans.map(([, plan]) => plan);
  const savedBytes = each.reduce<number | null>(
    (sum, { disk }) => (sum === null || disk.savedBytes === null ? null : sum + disk.savedBytes),
    0,
  );
  return deepFreeze({
    ...first,
    metricRows: first.metricRows * each.length,
    memory: planMemoryTogether(each.map(({ memory }) => memory)),
    disk: { ...first.disk, savedBytes, totalBytes: each.reduce((sum, { disk }) => sum + disk.totalBytes, 0) },
    saes: Object.fromEntries(plans),
  });
}

function planOne(config: ResolvedConfig, measured: Measurements): TrainPlan {
  const { sae, train_batch_size_tokens: batch } = config;
  const tokens = config.training_tokens + config.finetuning_tokens;
  const totalSteps = Math.ceil(tokens / batch);
  const scheduleSteps = scheduledSteps(config);
  const checkpointsAtSamples = checkpointSamples(config);
  const metricRows = Math.floor(totalSteps / config.logger.wandb_log_frequency);
  // One more than are kept: the oldest goes when the newest is there.
  const nRecurring = config.checkpoint_every === null ? 0 : config.keep_checkpoints + 1;
  const nResumable = checkpointsAtSamples.length + nRecurring;
  const nSaved = nResumable + (config.save_final_checkpoint ? 2 : 1);
  const savedBytes = weightBytes(config);
  const stateBytes = trainingStateBytes(config);
  const ofSaes = nSaved * (savedBytes ?? 0) + nResumable * (stateBytes ?? 0);
  return {
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
    memory: planMemory(config, measured.modelBytes ?? null),
    disk: { nSaved, savedBytes, stateBytes, nResumable, totalBytes: ofSaes + metricRows * METRIC_ROW_BYTES },
    durationSeconds: measured.tokensPerSecond === undefined ? null : tokens / measured.tokensPerSecond,
  };
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
