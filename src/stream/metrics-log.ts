import type { ColumnArray } from '../protocol/frames.ts';
import type { Column } from '../protocol/messages.ts';

/** The numbers of one step under their names; `stream` says what kind of row it is (train, evaluation, …). */
export interface MetricsRow {
  readonly stream: string;
  readonly values: Readonly<Record<string, number>>;
}

/** Rows of one metrics stream as they came: a column of float64 for each name. */
export interface MetricsBatch {
  readonly stream: { readonly name: string; readonly columns: readonly Column[] };
  readonly header: { readonly rows: number; readonly dropped: number };
  readonly columns: readonly ColumnArray[];
}

/**
 * The metrics of a run, from its first row. Each `for await` is a reader of its own: it starts at the beginning,
 * follows the run and ends with it; a slow reader, or one that breaks out, disturbs nobody. All rows are kept, as
 * columns: 8 bytes a number, 16 MB for 100 000 rows of 20.
 */
export class MetricsLog implements AsyncIterable<MetricsRow> {
  readonly #batches: MetricsBatch[] = [];
  #wake: (() => void)[] = [];
  #ended = false;
  #error: Error | undefined;
  /** Rows the worker had to drop because its queue was full. */
  dropped = 0;

  push(batch: MetricsBatch): void {
    this.#batches.push(batch);
    this.dropped += batch.header.dropped;
    this.#notify();
  }

  /** The run is over. With an error, readers get it after the last row. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MetricsRow, void, void> {
    for (let next = 0; ; ) {
      const batch = this.#batches[next];
      if (batch !== undefined) {
        next++;
        yield* rowsOf(batch);
      } else if (this.#ended) {
        if (this.#error) throw this.#error;
        return;
      } else {
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

/** The rows of a batch, in order. */
export function* rowsOf({ stream, header, columns }: MetricsBatch): Generator<MetricsRow, void, void> {
  for (let row = 0; row < header.rows; row++) {
    const values = Object.fromEntries(stream.columns.map(({ name }, i) => [name, Number(columns[i]?.[row])]));
    yield { stream: stream.name, values };
  }
}
