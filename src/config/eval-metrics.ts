const FLAGS = {
  compute_ce_loss: {
    model_performance_preservation: [
      'ce_loss_score',
      'ce_loss_with_ablation',
      'ce_loss_with_sae',
      'ce_loss_without_sae',
    ],
  },
  compute_kl: { model_behavior_preservation: ['kl_div_score', 'kl_div_with_ablation', 'kl_div_with_sae'] },
  compute_variance_metrics: {
    reconstruction_quality: ['explained_variance', 'explained_variance_legacy', 'mse', 'cossim'],
  },
  compute_sparsity_metrics: { sparsity: ['l0', 'l1'] },
  compute_l2_norms: { shrinkage: ['l2_norm_in', 'l2_norm_out', 'l2_ratio', 'relative_reconstruction_bias'] },
  compute_featurewise_density_statistics: {
    misc_metrics: [
      'frac_alive',
      'freq_over_1_percent',
      'freq_over_10_percent',
      'normalized_freq_over_1_percent',
      'normalized_freq_over_10_percent',
    ],
  },
  compute_featurewise_weight_based_metrics: {
    misc_metrics: ['average_max_encoder_cosine_sim', 'average_max_decoder_cosine_sim'],
  },
} as const satisfies Record<string, Record<string, readonly string[]>>;

/** The option of `eval` that a metric takes. */
export type ComputeFlag = keyof typeof FLAGS;
export const COMPUTE_FLAGS = Object.keys(FLAGS) as ComputeFlag[];

/** One metric of an evaluation, by SAELens' names (reference/saelens.md §4.6), those of SAEBench's core for the rest. */
export interface EvalMetric {
  readonly group: string;
  readonly name: string;
  readonly flag: ComputeFlag;
}

/** Every metric of an evaluation, in the order in which they are shown. */
export const EVAL_METRICS: readonly EvalMetric[] = COMPUTE_FLAGS.flatMap((flag) =>
  Object.entries(FLAGS[flag]).flatMap(([group, names]: [string, readonly string[]]) =>
    names.map((name) => ({ group, name, flag })),
  ),
);

/** The metrics that a word names: a group, a name, or both with a slash. */
export const metricsNamed = (word: string): readonly EvalMetric[] =>
  EVAL_METRICS.filter(({ group, name }) => word === group || word === name || word === `${group}/${name}`);
