import { Series } from './series.ts';

/** A metric of a run: of which of its SAEs (`''` for the only one), and its name. */
type SeriesBySae = ReadonlyMap<string, ReadonlyMap<string, Series>>;

/** More names than these are no metrics of ours; a file of another making must not fill the memory. */
const MOST_SERIES = 512;

/** All metrics of a run, gathered from the lines of metrics.jsonl. */
export class MetricRows {
  readonly #saes = new Map<string, Map<string, Series>>();
  #nSeries = 0;
  /** The highest step of any row; -1 before the first. */
  step = -1;
  rows = 0;
  /** Values that were no finite number where one was to be, with the step of the first. */
  notFinite = 0;
  firstNotFinite: number | null = null;

  get bySae(): SeriesBySae {
    return this.#saes;
  }

  /** Of one SAE; of the only one, or of the first. */
  of(sae?: string): ReadonlyMap<string, Series> {
    return (sae === undefined ? [...this.#saes.values()][0] : this.#saes.get(sae)) ?? new Map();
  }

  /** Takes one line in; what is no row is passed over. */
  push(line: string): void {
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      return;
    }
    if (typeof row !== 'object' || row === null) return;
    const { step, sae = '', ...values } = row as Record<string, unknown>;
    if (typeof step !== 'number' || typeof sae !== 'string') return;
    this.rows++;
    this.step = Math.max(this.step, step);
    if (!this.#saes.has(sae) && this.#saes.size >= MOST_SERIES) return;
    const series = this.#saes.get(sae) ?? new Map<string, Series>();
    this.#saes.set(sae, series);
    for (const [key, value] of Object.entries(values)) {
      if (typeof value === 'number') this.#seriesOf(series, key)?.push(step, value);
      else if (value === null) {
        this.notFinite++;
        this.firstNotFinite ??= step;
      }
    }
  }

  #seriesOf(series: Map<string, Series>, key: string): Series | undefined {
    const known = series.get(key);
    if (known !== undefined || this.#nSeries >= MOST_SERIES) return known;
    const added = new Series();
    this.#nSeries++;
    series.set(key, added);
    return added;
  }
}
