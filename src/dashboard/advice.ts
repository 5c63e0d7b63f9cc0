import { significant } from '../format.ts';
import type { Series } from './series.ts';
import type { Advice, RunFacts } from './shown.ts';

/** What a rule looks at: an SAE of a run, its configuration and its metrics so far. */
export interface Observed {
  readonly config: RunFacts['config'];
  readonly dIn: number | null;
  readonly dSae: number | null;
  readonly totalSteps: number | null;
  /** By the name of the metric. */
  readonly series: ReadonlyMap<string, Pick<Series, 'last' | 'points'>>;
  /** Values that were no number, and the step of the first. */
  readonly notFinite: { readonly count: number; readonly step: number | null };
}

type Finding = Omit<Advice, 'rule' | 'sae'> | null;
type Rule = (observed: Observed) => Finding;

/** Shares of a run, and factors, from which on something is said. Each is a judgement; the text shows the number. */
const DEAD_SHARE = 0.2;
const DENSE_SHARE = 0.25;
const L0_DRIFT = 0.15;
const SPIKE_FACTOR = 3;
const BEFORE_SPIKE = 12;
const RISE_FACTOR = 1.5;
const EV_FLAT = 0.002;
const EV_POOR = 0.5;
const CE_POOR = 0.8;
const BATCHES_MIXED = 8;
const WAITING_SHARE = 0.7;
/** Points of a line before anything is said of its course. */
const FEWEST_POINTS = 20;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

const valuesOf = ({ series }: Observed, key: string): number[] =>
  series.get(key)?.points(undefined, undefined, 512).values ?? [];
const lastOf = ({ series }: Observed, key: string): number | null => series.get(key)?.last ?? null;
const option = ({ config }: Observed, key: string): number => Number(config[key]);
/** Of these architectures L0 is what the configuration says. */
const hasFixedL0 = ({ config }: Observed): boolean => String(config['sae.architecture']).includes('topk');

const RULES: Readonly<Record<string, Rule>> = {
  dead_latents(observed) {
    const dead = lastOf(observed, 'sparsity/dead_features');
    if (dead === null || observed.dSae === null || dead / observed.dSae <= DEAD_SHARE) return null;
    const remedy = hasFixedL0(observed)
      ? `raise sae.aux_loss_coefficient (now ${observed.config['sae.aux_loss_coefficient']}), raise sae.k, or lower sae.d_sae`
      : 'weaken the sparsity loss, lengthen its warm-up, or lower sae.d_sae';
    return {
      level: 'warning',
      seen: `${dead} of ${observed.dSae} latents are dead (${percent(dead / observed.dSae)}); more than ${percent(DEAD_SHARE)} are width that is paid for and not used`,
      try: remedy,
    };
  },

  l0_drift(observed) {
    const values = valuesOf(observed, 'metrics/l0');
    if (hasFixedL0(observed) || values.length < FEWEST_POINTS) return null;
    const part = Math.ceil(values.length / 10);
    const [now, before] = [mean(values.slice(-part)), mean(values.slice(-2 * part, -part))];
    const drift = now / before - 1;
    if (!(Math.abs(drift) > L0_DRIFT)) return null;
    return {
      level: 'note',
      seen: `L0 went from ${significant(before)} to ${significant(now)} (${drift > 0 ? '+' : ''}${percent(drift)}) in the last tenth of the run`,
      try: 'it has not settled: train longer, or shorten the warm-up of the sparsity loss',
    };
  },

  l0_dense(observed) {
    const l0 = lastOf(observed, 'metrics/l0');
    if (l0 === null || observed.dSae === null || l0 / observed.dSae <= DENSE_SHARE) return null;
    return {
      level: 'note',
      seen: `L0 is ${significant(l0)} of ${observed.dSae} latents (${percent(l0 / observed.dSae)})`,
      try: hasFixedL0(observed) ? 'lower sae.k' : 'strengthen the sparsity loss, once its warm-up is over',
    };
  },

  loss_spikes(observed) {
    const points = observed.series.get('losses/overall_loss')?.points(undefined, undefined, 512);
    if (points === undefined || points.values.length < FEWEST_POINTS) return null;
    const { steps, values } = points;
    // Against the points before it: early on the loss falls fast, and is high without being a spike.
    const usualAt = (i: number): number => median(values.slice(i - BEFORE_SPIKE, i));
    const spikes = values.flatMap((value, i) =>
      i >= BEFORE_SPIKE && value > SPIKE_FACTOR * usualAt(i) ? [{ value, step: steps[i], usual: usualAt(i) }] : [],
    );
    const [highest] = spikes.sort((one, other) => other.value - one.value);
    if (highest === undefined) return null;
    const { value, step, usual } = highest;
    return {
      level: 'warning',
      seen: `the loss rose to ${significant(value)} at step ${step}, ${significant(value / usual)} times its median ${significant(usual)} just before`,
      try: `lower lr (now ${observed.config.lr}), or lengthen lr_warm_up_steps (now ${observed.config.lr_warm_up_steps})`,
    };
  },

  loss_rises(observed) {
    const values = valuesOf(observed, 'losses/overall_loss');
    if (values.length < FEWEST_POINTS) return null;
    const part = Math.ceil(values.length / 10);
    const means = Array.from({ length: Math.floor(values.length / part) }, (_, i) =>
      mean(values.slice(i * part, (i + 1) * part)),
    );
    const [now, best] = [means.at(-1) as number, Math.min(...means)];
    if (!(now > RISE_FACTOR * best)) return null;
    return {
      level: 'warning',
      seen: `the loss is ${significant(now)}, ${significant(now / best)} times its best tenth of the run (${significant(best)})`,
      try: `lower lr (now ${observed.config.lr}); with a sparsity loss whose coefficient still warms up, a rise is usual`,
    };
  },

  variance_poor(observed) {
    const [ev, step] = [lastOf(observed, 'metrics/explained_variance'), lastStep(observed)];
    if (ev === null || ev >= EV_POOR || observed.totalSteps === null || step < observed.totalSteps / 5) return null;
    return {
      level: 'warning',
      seen: `${percent(ev)} of the variance is explained after ${step} of ${observed.totalSteps} steps`,
      try: `normalize_activations "expected_average_only_in" (now "${observed.config['sae.normalize_activations']}"), another lr (now ${observed.config.lr}), or more active latents`,
    };
  },

  variance_flat(observed) {
    const { totalSteps } = observed;
    const values = valuesOf(observed, 'metrics/explained_variance');
    if (values.length < 2 * FEWEST_POINTS || totalSteps === null || lastStep(observed) > 0.8 * totalSteps) return null;
    const part = Math.ceil(values.length / 10);
    const [now, before] = [mean(values.slice(-part)), mean(values.slice(-3 * part, -2 * part))];
    if (Math.abs(now - before) >= EV_FLAT) return null;
    return {
      level: 'note',
      seen: `explained variance is ${significant(now)} and was ${significant(before)} two tenths of the run before; ${percent(1 - lastStep(observed) / totalSteps)} of the steps are left`,
      try: 'what is left may bring little before the learning rate decays: fewer training_tokens, or a wider SAE',
    };
  },

  behaviour_lost(observed) {
    const score = lastOf(observed, 'model_performance_preservation/ce_loss_score');
    if (score === null || score >= CE_POOR) return null;
    return {
      level: 'note',
      seen: `the CE loss score is ${significant(score)}: with the SAE in its place the model loses ${percent(1 - score)} of what the layer does for the next token`,
      try: 'more active latents, a wider SAE, or more training_tokens',
    };
  },

  buffer_small(observed) {
    const sequences = option(observed, 'n_batches_in_buffer') * option(observed, 'store_batch_size_prompts');
    const batch = option(observed, 'train_batch_size_tokens');
    const batches = (sequences * option(observed, 'context_size')) / batch;
    if (observed.config.use_cached_activations === true || !(batches < BATCHES_MIXED)) return null;
    return {
      level: 'note',
      seen: `the buffer mixes ${sequences} sequences, ${significant(batches)} training batches; below ${BATCHES_MIXED} the rows of a batch are of few texts`,
      try: `raise n_batches_in_buffer (now ${observed.config.n_batches_in_buffer})`,
    };
  },

  waits_for_activations(observed) {
    const [lm, data] = [lastOf(observed, 'system/lm_share'), lastOf(observed, 'system/data_share')];
    if (lm === null || data === null || lm + data <= WAITING_SHARE) return null;
    return {
      level: 'note',
      seen: `${percent(lm + data)} of the time goes into activations (${percent(lm)} language model, ${percent(data)} data and mixing)`,
      try: 'several SAEs in one run share them (saes), and a cache of activations computes them once',
    };
  },

  not_finite({ notFinite: { count, step } }) {
    if (count === 0) return null;
    return {
      level: 'warning',
      seen: `${count} values of metrics are no finite numbers, the first at step ${step}`,
      try: 'lower lr, or train in float32',
    };
  },
};

const lastStep = ({ series }: Observed): number =>
  series.get('losses/overall_loss')?.points(undefined, undefined, 1).steps.at(-1) ?? 0;

/** What there is to say of an SAE of a run; warnings first. */
export function adviceFor(observed: Observed, sae = ''): Advice[] {
  const found = Object.entries(RULES).flatMap(([rule, look]) => {
    const finding = look(observed);
    return finding === null ? [] : [{ rule, sae, ...finding }];
  });
  return found.sort((a, b) => Number(a.level === 'note') - Number(b.level === 'note'));
}
