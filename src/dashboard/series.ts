/** Buckets kept of a metric, however long its run; four numbers each, so 128 KB. */
const MOST_BUCKETS = 4096;

/** Points of a line. */
export interface Points {
  readonly steps: number[];
  readonly values: number[];
}

/**
 * One metric of a run, from its first row on, in bounded memory: rows share buckets, and each bucket keeps its lowest and its highest row.
 * What is drawn of it are rows that there are, and no spike is lost. Full, every two buckets become one.
 */
export class Series {
  /** The last row. */
  last: number | null = null;
  /** Rows that had a number. */
  rows = 0;
  /** Per bucket: step and value of the lowest row, step and value of the highest. */
  #buckets = new Float64Array(4 * 64);
  #count = 0;
  #rowsInLast = 0;
  #rowsABucket = 1;

  /** Steps come in order. */
  push(step: number, value: number): void {
    this.last = value;
    this.rows++;
    if (this.#count === 0 || this.#rowsInLast === this.#rowsABucket) this.#open(step, value);
    else this.#widen(4 * (this.#count - 1), step, value);
    this.#rowsInLast++;
  }

  /** Rows that one bucket stands for: at 1 every row is kept as it is. */
  get rowsABucket(): number {
    return this.#rowsABucket;
  }

  /** What lies between two steps, as the lowest and highest rows of at most so many stretches. */
  points(from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY, most = MOST_BUCKETS): Points {
    const [begin, end] = [this.#bucketFrom(from), this.#bucketAfter(to)];
    const merged = Math.max(1, Math.ceil((end - begin) / most));
    const points: Points = { steps: [], values: [] };
    for (let bucket = begin; bucket < end; bucket += merged) this.#draw(bucket, Math.min(bucket + merged, end), points);
    return points;
  }

  #draw(begin: number, end: number, { steps, values }: Points): void {
    const buckets = this.#buckets;
    let [low, high] = [4 * begin, 4 * begin];
    for (let at = 4 * begin; at < 4 * end; at += 4) {
      if ((buckets[at + 1] as number) < (buckets[low + 1] as number)) low = at;
      if ((buckets[at + 3] as number) > (buckets[high + 3] as number)) high = at;
    }
    const lowest = [buckets[low], buckets[low + 1]] as [number, number];
    const highest = [buckets[high + 2], buckets[high + 3]] as [number, number];
    const ordered = lowest[0] <= highest[0] ? [lowest, highest] : [highest, lowest];
    for (const [step, value] of ordered) {
      if (steps.at(-1) === step && values.at(-1) === value) continue;
      steps.push(step);
      values.push(value);
    }
  }

  #open(step: number, value: number): void {
    if (this.#count === MOST_BUCKETS) this.#halve();
    const at = 4 * this.#count++;
    if (at === this.#buckets.length) {
      const wider = new Float64Array(2 * at);
      wider.set(this.#buckets);
      this.#buckets = wider;
    }
    this.#buckets.set([step, value, step, value], at);
    this.#rowsInLast = 0;
  }

  #widen(at: number, step: number, value: number): void {
    if (value < (this.#buckets[at + 1] as number)) this.#buckets.set([step, value], at);
    if (value > (this.#buckets[at + 3] as number)) this.#buckets.set([step, value], at + 2);
  }

  #halve(): void {
    const buckets = this.#buckets;
    for (let i = 0; i < MOST_BUCKETS / 2; i++) {
      const [left, right, into] = [8 * i, 8 * i + 4, 4 * i];
      const low = (buckets[right + 1] as number) < (buckets[left + 1] as number) ? right : left;
      const high = (buckets[right + 3] as number) > (buckets[left + 3] as number) ? right : left;
      buckets.set([...buckets.subarray(low, low + 2), ...buckets.subarray(high + 2, high + 4)], into);
    }
    this.#count = MOST_BUCKETS / 2;
    this.#rowsABucket *= 2;
  }

  /** The first bucket that reaches to the step. */
  #bucketFrom(step: number): number {
    return this.#search((at) => Math.max(this.#buckets[at] as number, this.#buckets[at + 2] as number) >= step);
  }

  /** The first bucket that lies wholly behind the step. */
  #bucketAfter(step: number): number {
    return this.#search((at) => Math.min(this.#buckets[at] as number, this.#buckets[at + 2] as number) > step);
  }

  #search(isThere: (at: number) => boolean): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isThere(4 * middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
