import type { ResolvedConfig } from '../config/index.ts';
import { slicedContextSize } from '../config/index.ts';

const BYTES_OF = { float64: 8, float32: 4, bfloat16: 2, float16: 2 } as const;

/** Numbers held for each latent of each row at the peak of a dense step, as measured (4096 rows, 16384 latents, CPU). */
const LATENT_COPIES = {
  standard: 5.4,
  topk: 6.4,
  batchtopk: 7.2,
  matryoshka_batchtopk: 8.6,
  jumprelu: 6.4,
  gated: 8.4,
} as const;

/** Memory by part; `null` where the width of the activations is not known before the model is loaded. */
export interface MemoryPlan {
  weightBytes: number;
  gradientBytes: number;
  optimizerBytes: number;
  bufferBytes: number;
  /** Pre-activations, activations and their gradients, at the peak of a step. */
  latentBytes: number;
  /** A copy of the state of training while a checkpoint is written beside it; 0 without such checkpoints. */
  checkpointBytes: number;
  /** Weights of the language model, when they were measured. */
  modelBytes: number | null;
  totalBytes: number;
}

/** Numbers in the SAE's parameters: two matrices, and vectors by architecture. */
export function parameterCount(architecture: ResolvedConfig['sae']['architecture'], dIn: number, dSae: number): number {
  const vectorsOfLatents = { standard: 1, topk: 1, batchtopk: 1, matryoshka_batchtopk: 1, jumprelu: 2, gated: 3 }[
    architecture
  ];
  return 2 * dIn * dSae + dIn + vectorsOfLatents * dSae;
}

/** Bytes of the SAE's weights, or null when `d_in` or `d_sae` is read from the model. */
export function weightBytes({ sae }: ResolvedConfig): number | null {
  if (sae.d_in === null || sae.d_sae === null) return null;
  return parameterCount(sae.architecture, sae.d_in, sae.d_sae) * BYTES_OF[sae.dtype];
}

/** Rows in the mixing buffer. */
export function bufferRows(config: ResolvedConfig): number {
  return config.n_batches_in_buffer * config.store_batch_size_prompts * slicedContextSize(config);
}

/** Of each row in the buffer, where it came from: token, position, sequence. */
const ROW_ORIGIN_BYTES = 4 + 4 + 8;

/**
 * What a checkpoint holds to go on from: the weights as they are trained with Adam's two moments of each, and the rows
 * of the mixing buffer. Null when the width is read from the model.
 */
export function trainingStateBytes(config: ResolvedConfig): number | null {
  const weights = weightBytes(config);
  if (weights === null) return null;
  const rowBytes = (config.sae.d_in as number) * BYTES_OF[config.dtype] + ROW_ORIGIN_BYTES;
  return 3 * weights + bufferRows(config) * rowBytes;
}

/** Whether a language model is asked for: to read activations, to evaluate in it, or for its special tokens. */
export function loadsModel(config: ResolvedConfig): boolean {
  const { use_cached_activations, dataset_path, eval_dataset_path, exclude_special_tokens } = config;
  return (
    !use_cached_activations || dataset_path !== '' || eval_dataset_path !== null || exclude_special_tokens === true
  );
}

/** What several SAEs need together: one buffer and one model serve all, and one after the other takes its step. */
export function planMemoryTogether(plans: readonly (MemoryPlan | null)[]): MemoryPlan | null {
  const known = plans.filter((plan) => plan !== null);
  const [first] = known;
  if (first === undefined || known.length < plans.length) return null;
  const sum = (bytes: (plan: MemoryPlan) => number) => known.reduce((total, plan) => total + bytes(plan), 0);
  const parts = {
    weightBytes: sum((plan) => plan.weightBytes),
    gradientBytes: sum((plan) => plan.gradientBytes),
    optimizerBytes: sum((plan) => plan.optimizerBytes),
    bufferBytes: first.bufferBytes,
    latentBytes: Math.max(...known.map((plan) => plan.latentBytes)),
    // The one buffer is in each of them.
    checkpointBytes:
      first.checkpointBytes && sum((plan) => plan.checkpointBytes - plan.bufferBytes) + first.bufferBytes,
  };
  const total = Object.values(parts).reduce((all, bytes) => all + bytes, first.modelBytes ?? 0);
  return { ...parts, modelBytes: first.modelBytes, totalBytes: total };
}

/** What a step of training needs, without the working memory of torch itself and of the language model. */
export function planMemory(config: ResolvedConfig, measuredModelBytes: number | null): MemoryPlan | null {
  const modelBytes = loadsModel(config) ? measuredModelBytes : 0;
  const weights = weightBytes(config);
  if (weights === null) return null;
  // The buffer, and the batch of the language model that is put into it next.
  const bufferBytes =
    bufferRows(config) * (1 + 1 / config.n_batches_in_buffer) * (config.sae.d_in as number) * BYTES_OF[config.dtype];
  const copies = config.checkpoints_in_background && (config.n_checkpoints > 0 || config.checkpoint_every !== null);
  const parts = {
    weightBytes: weights,
    gradientBytes: weights,
    // Adam keeps two moments of every weight.
    optimizerBytes: 2 * weights,
    bufferBytes,
    // Weights as they are trained and as they are saved, both moments, and the rows of the buffer.
    checkpointBytes: copies ? 4 * weights + bufferBytes : 0,
    latentBytes: Math.round(
      LATENT_COPIES[config.sae.architecture] *
        config.train_batch_size_tokens *
        (config.sae.d_sae as number) *
        BYTES_OF[config.sae.dtype],
    ),
  };
  const total = Object.values(parts).reduce((sum, bytes) => sum + bytes, modelBytes ?? 0);
  return { ...parts, modelBytes, totalBytes: total };
}
