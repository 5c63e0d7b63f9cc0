import { bytes, compact, duration, grouped, significant } from '../format.ts';
import type { RunEvent } from './sink.ts';

/** How many numbers are kept for sparklines; a longer run keeps every second, fourth, … row instead. */
const HISTORY = 512;
/** Speed is that of the last so many seconds: the first steps are slow and would spoil the estimate for minutes. */
const SPEED_WINDOW_S = 120;

/** The stage in which steps are made. */
const TRAINING = 'train';

/** Keys of the row that the live line shows. */
export const KEYS = {
  loss: 'losses/overall_loss',
  l0: 'metrics/l0',
  explainedVariance: 'metrics/explained_variance',
  dead: 'sparsity/dead_features',
  samples: 'details/n_training_samples',
  heldOutExplainedVariance: 'reconstruction_quality/explained_variance',
  ceLossScore: 'model_performance_preservation/ce_loss_score',
  workerBytes: 'system/rss_bytes',
  deviceBytes: 'system/gpu_bytes',
} as const;

/** Where a run stands: last value of every metric, speed, time left. */
export class Progress {
  step = 0;
  /** The step that loss, L0 and explained variance in `last` are of. */
  measuredStep = 0;
  totalSteps = 0;
  trainingTokens = 0;
  dSae = 0;
  /** What goes on while no step does. */
  stage: string | null = null;
  readonly last: Record<string, number> = {};
  readonly #history: Record<string, number[]> = {};
  #stride = 1;
  #rows = 0;
  readonly #marks: { at: number; samples: number }[] = [];

  /** `nowS` is monotonic, in seconds. */
  consume(event: RunEvent, nowS: number): void {
    if (event.kind === 'header') {
      this.totalSteps = event.total_steps;
      this.trainingTokens = event.training_tokens;
      this.dSae = event.d_sae ?? 0;
    } else if (event.kind === 'started') {
      this.totalSteps = event.total_steps;
      this.dSae = event.d_sae;
      this.stage = null;
    } else if (event.kind === 'stage' && event.stage === TRAINING && this.#rows > 0) {
      // Rows say more of training than its stage does; that only tells the steps between two of them.
      this.stage = null;
      this.step = Math.max(this.step, (event.done ?? 0) - 1);
    } else if (event.kind === 'stage') {
      const part = event.total === null || event.done === null ? '' : ` ${grouped(event.done)}/${grouped(event.total)}`;
      this.stage = `${event.message}${part}`;
    } else if (event.kind === 'metrics') {
      this.#row(event.step, event.row, nowS);
    }
  }

  /** Tokens a second, or null before two rows. */
  get speed(): number | null {
    const first = this.#marks[0];
    const last = this.#marks.at(-1);
    if (first === undefined || last === undefined || last.at <= first.at) return null;
    return (last.samples - first.samples) / (last.at - first.at);
  }

  get secondsLeft(): number | null {
    const speed = this.speed;
    if (speed === null || speed <= 0 || this.trainingTokens === 0) return null;
    return Math.max(0, this.trainingTokens - (this.last[KEYS.samples] ?? 0)) / speed;
  }

  history(key: string): readonly number[] {
    return this.#history[key] ?? [];
  }

  /**
   * The line's parts, most important first: a narrow terminal shows as many as fit.
   *
   * @param of those of the run, those of an SAE, or both
   */
  parts(of: 'both' | 'run' | 'sae' = 'both'): string[] {
    const { last, speed, secondsLeft, dSae } = this;
    const show = (key: string, text: (value: number) => string): string | null => {
      const value = last[key];
      return value === undefined ? null : text(value);
    };
    const parts: ['run' | 'sae', string | null][] = [
      // The rows of the last evaluation have the number of the step that would come next.
      ['run', `step ${grouped(Math.min(this.step + 1, this.totalSteps))}/${grouped(this.totalSteps)}`],
      ['sae', show(KEYS.loss, (v) => `loss ${significant(v)}`)],
      ['run', secondsLeft === null ? null : `ETA ${duration(secondsLeft)}`],
      ['sae', show(KEYS.l0, (v) => `L0 ${significant(v)}`)],
      ['sae', show(KEYS.explainedVariance, (v) => `EV ${v.toFixed(3)}`)],
      ['run', speed === null ? null : `${compact(speed)} tok/s`],
      ['sae', dSae === 0 ? null : show(KEYS.dead, (v) => `dead ${((100 * v) / dSae).toFixed(1)}%`)],
      ['run', show(KEYS.workerBytes, (v) => `RSS ${bytes(v)}`)],
      ['run', show(KEYS.deviceBytes, (v) => `GPU ${bytes(v)}`)],
    ];
    return parts.flatMap(([group, text]) => (text === null || (of !== 'both' && of !== group) ? [] : [text]));
  }

  #row(step: number, row: Readonly<Record<string, number>>, nowS: number): void {
    this.step = Math.max(this.step, step);
    Object.assign(this.last, row);
    const samples = row[KEYS.samples];
    // Rows of evaluations and sparsity have no loss and are no steps of their own.
    if (samples === undefined) return;
    this.stage = null;
    this.measuredStep = step;
    this.#marks.push({ at: nowS, samples });
    while (this.#marks.length > 2 && nowS - (this.#marks[0]?.at ?? nowS) > SPEED_WINDOW_S) this.#marks.shift();
    if (this.#rows++ % this.#stride !== 0) return;
    for (const key of [KEYS.loss, KEYS.l0, KEYS.explainedVariance]) {
      const value = row[key];
      if (value === undefined) continue;
      this.#history[key] ??= [];
      this.#history[key].push(value);
    }
    if ((this.#history[KEYS.loss]?.length ?? 0) > HISTORY) {
      this.#stride *= 2;
      for (const [key, values] of Object.entries(this.#history)) {
        this.#history[key] = values.filter((_, i) => i % 2 === 0);
      }
    }
  }
}
