import type { ResolvedConfig } from '../config/index.ts';

/**
 * Samples after which a checkpoint is due, by the rule of the configuration's generation: 6.x divides the run in
 * `n + 1` parts, 5.x in `n` and leaves out the end.
 */
export function checkpointThresholds(totalTokens: number, nCheckpoints: number, vocabulary: 'v5' | 'v6'): number[] {
  if (nCheckpoints === 0) return [];
  const distance =
    vocabulary === 'v5' ? Math.floor(totalTokens / nCheckpoints) : Math.ceil(totalTokens / (nCheckpoints + 1));
  const thresholds: number[] = [];
  for (let samples = distance; distance > 0 && samples < totalTokens; samples += distance) thresholds.push(samples);
  return thresholds;
}

/** Samples trained on when each checkpoint is written: the end of the first step beyond its threshold. */
export function checkpointSamples(config: ResolvedConfig): number[] {
  const { train_batch_size_tokens: batch, n_checkpoints, training_tokens, finetuning_tokens } = config;
  const total = training_tokens + finetuning_tokens;
  const last = Math.ceil(total / batch) * batch;
  const written = checkpointThresholds(total, n_checkpoints, config.sae.vocabulary).map(
    (threshold) => (Math.floor(threshold / batch) + 1) * batch,
  );
  return [...new Set(written)].filter((samples) => samples <= last);
}
