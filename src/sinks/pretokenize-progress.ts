import { compact, duration, grouped } from '../format.ts';

/** Speed is that of the last so many seconds: processes start, and files differ in the length of their rows. */
const SPEED_WINDOW_S = 30;

/** How far a dataset is tokenized; `total` where the number of documents is known. */
export interface PretokenizeCounts {
  readonly documents: number;
  readonly total: number | null;
  readonly tokens: number;
  readonly sequences: number;
}

/** Documents, speed and time left, from what the worker tells. */
export class PretokenizeProgress {
  #last: PretokenizeCounts = { documents: 0, total: null, tokens: 0, sequences: 0 };
  readonly #marks: { at: number; counts: PretokenizeCounts }[] = [];

  /** `nowS` is monotonic, in seconds. */
  consume(counts: PretokenizeCounts, nowS: number): void {
    this.#last = counts;
    this.#marks.push({ at: nowS, counts });
    while (this.#marks.length > 2 && nowS - (this.#marks[0]?.at ?? nowS) > SPEED_WINDOW_S) this.#marks.shift();
  }

  /** A second, or null before two different moments. */
  get speed(): { documents: number; tokens: number } | null {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)];
    if (first === undefined || last === undefined || last.at <= first.at) return null;
    const seconds = last.at - first.at;
    return {
      documents: (last.counts.documents - first.counts.documents) / seconds,
      tokens: (last.counts.tokens - first.counts.tokens) / seconds,
    };
  }

  get secondsLeft(): number | null {
    const { total, documents } = this.#last;
    const speed = this.speed?.documents ?? 0;
    return total === null || speed <= 0 ? null : (total - documents) / speed;
  }

  /** The line's parts, most important first. */
  parts(): string[] {
    const { documents, total, tokens, sequences } = this.#last;
    const { speed, secondsLeft } = this;
    return [
      `${grouped(documents)}${total === null ? '' : `/${grouped(total)}`} documents`,
      ...(secondsLeft === null ? [] : [`ETA ${duration(secondsLeft)}`]),
      ...(speed === null ? [] : [`${compact(speed.tokens)} tok/s`, `${compact(speed.documents)} rows/s`]),
      `${compact(tokens)} tokens`,
      `${grouped(sequences)} sequences`,
    ];
  }
}
