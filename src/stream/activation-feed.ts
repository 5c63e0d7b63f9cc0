import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';
import { SaeLensError } from '../errors.ts';
import type { ColumnArray } from '../protocol/frames.ts';
import type { Column } from '../protocol/messages.ts';
import type { ActivationBatch } from './activation-tap.ts';

/** A larger batch travels as several frames, so that the memory of a feed is bounded whatever a producer yields. */
const FRAME_BYTES = 2 ** 24;
/** How long the iterator may take to let go of what it holds, when the run is over. */
const RETURN_MS = 1_000;
const UNKNOWN_TOKEN = -1;

/**
 * Activations to train on, from wherever you have them: `rows` vectors of `dIn` numbers, one after the other. An
 * {@link ActivationBatch} of another run is one. What is known of where each row came from travels along to
 * `run.activations()`.
 */
export type FedActivations = Pick<ActivationBatch, 'rows' | 'dIn'> & {
  /** Row-major, `rows` × `dIn`; a Uint16Array holds the raw bits of float16. */
  readonly activation: Float32Array | Uint16Array;
  /** Default -1: not known. */
  readonly tokenId?: Int32Array;
  /** Default 0. */
  readonly position?: Int32Array;
  /** Default: the number of the row. */
  readonly sequence?: BigInt64Array;
};

/** Where a feed's frames go. */
interface FeedLink {
  open(columns: Column[]): Promise<{ send(rows: number, arrays: readonly ColumnArray[]): Promise<void> }>;
  end(frames: number): Promise<unknown>;
}

/** Carries what a producer yields to a worker, no faster than the worker has room: it is asked for a batch only then. */
export class ActivationFeed {
  readonly #iterator: AsyncIterator<FedActivations> | Iterator<FedActivations>;
  readonly #needsTokenIds: boolean;
  #shape: { dIn: number; type: 'float32' | 'float16' } | undefined;
  #dIn: number | null;
  #credits = 0;
  #batches = 0;
  #rows = 0;
  #closed = false;
  #exhausted = false;
  #wake: () => void = () => {};

  /**
   * @param wanted what the configuration wants: `dIn`, null for that of the first batch; whether it leaves out rows by
   * their token ids
   */
  constructor(
    source: AsyncIterable<FedActivations> | Iterable<FedActivations>,
    wanted: { dIn: number | null; tokenIds: boolean },
  ) {
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#dIn = wanted.dIn;
    this.#needsTokenIds = wanted.tokenIds;
  }

  /** The worker has room for so many more frames. */
  credit(count: number): void {
    this.#credits += count;
    this.#wake();
  }

  /**
   * Runs until the producer ends or the feed is closed. A link that breaks ends it too: its owner knows better why.
   *
   * @throws the error that the producer threw; SaeLensError USAGE when it threw something else, USAGE or D_IN_MISMATCH
   * for a batch that is none
   */
  async pump(link: FeedLink): Promise<void> {
    await this.#carry(link).catch((thrown: unknown) => {
      throw asError(thrown);
    });
  }

  async #carry(link: FeedLink): Promise<void> {
    let frames = 0;
    let stream: Awaited<ReturnType<FeedLink['open']>> | undefined;
    while (await this.#room()) {
      const next = await this.#next();
      if (this.#closed) return;
      if (next.done) {
        await link.end(frames).catch(() => {});
        return;
      }
      const columns = this.#check(next.value);
      for (const { rows, arrays } of this.#frames(next.value)) {
        if (!(await this.#room())) return;
        this.#credits--;
        frames++;
        try {
          stream ??= await link.open(columns);
          await stream.send(rows, arrays);
        } catch {
          return;
        }
      }
    }
  }

  /** Nothing more is wanted: the producer's iterator is told so, by `return()`. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    if (this.#exhausted) return;
    // Whatever it throws then, at once or later, the run has ended as it did.
    const told = (async () => this.#iterator.return?.())().catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      told,
      new Promise((resolve) => {
        timer = setTimeout(resolve, RETURN_MS);
      }),
    ]);
    clearTimeout(timer);
  }

  async #next(): Promise<IteratorResult<FedActivations>> {
    try {
      const next = await this.#iterator.next();
      this.#exhausted = next.done === true;
      return next;
    } catch (error) {
      this.#exhausted = true;
      throw error;
    }
  }

  /** Waits for room; false when the feed is closed. */
  async #room(): Promise<boolean> {
    while (this.#credits === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return !this.#closed;
  }

  /** The columns of its frames; all batches have the same. */
  #check(batch: FedActivations): Column[] {
    const { rows, dIn, activation, tokenId, position, sequence } = Object(batch) as FedActivations;
    const problem = (message: string): SaeLensError =>
      new SaeLensError('USAGE', `Batch ${this.#batches} of the activations fed: ${message}`);
    if (!(activation instanceof Float32Array) && !(activation instanceof Uint16Array)) {
      throw problem('activation must be a Float32Array, or a Uint16Array of the bits of float16');
    }
    if (!Number.isInteger(rows) || rows < 0) throw problem(`rows is ${rows}; a whole number was expected`);
    if (!Number.isInteger(dIn) || dIn < 1) throw problem(`dIn is ${dIn}; a whole number above 0 was expected`);
    const wanted = this.#dIn ?? dIn;
    if (dIn !== wanted) {
      throw new SaeLensError(
        'D_IN_MISMATCH',
        `Batch ${this.#batches} of the activations fed is ${dIn} wide, ${wanted} was expected`,
        { hint: `every batch must have dIn ${wanted}, by sae.d_in or by the first batch` },
      );
    }
    if (activation.length !== rows * dIn) {
      throw problem(`activation has ${activation.length} numbers, ${rows} rows of ${dIn} need ${rows * dIn}`);
    }
    if (this.#needsTokenIds && tokenId === undefined) {
      throw new SaeLensError(
        'CONFIG_INVALID',
        `exclude_special_tokens lists token ids, and batch ${this.#batches} of the activations fed has none`,
        { hint: 'give tokenId with every batch, or set exclude_special_tokens false and leave such rows out yourself' },
      );
    }
    for (const [name, column, kind] of [
      ['tokenId', tokenId, Int32Array],
      ['position', position, Int32Array],
      ['sequence', sequence, BigInt64Array],
    ] as const) {
      if (column !== undefined && !(column instanceof kind)) throw problem(`${name} must be a ${kind.name}`);
      if (column !== undefined && column.length !== rows) {
        throw problem(`${name} has ${column.length} numbers for ${rows} rows`);
      }
    }
    const type = activation instanceof Float32Array ? 'float32' : 'float16';
    this.#shape ??= { dIn, type };
    if (type !== this.#shape.type) throw problem(`it is ${type}, those before it were ${this.#shape.type}`);
    this.#dIn = dIn;
    this.#batches++;
    return [
      { name: 'token_id', type: 'int32', shape: [] },
      { name: 'position', type: 'int32', shape: [] },
      { name: 'sequence', type: 'int64', shape: [] },
      { name: 'activation', type, shape: [dIn] },
    ];
  }

  /** A batch in parts that are small enough; one without rows has none. */
  *#frames({ rows, dIn, activation, tokenId, position, sequence }: FedActivations) {
    const step = Math.max(1, Math.floor(FRAME_BYTES / (dIn * activation.BYTES_PER_ELEMENT)));
    for (let from = 0; from < rows; from += step) {
      const to = Math.min(from + step, rows);
      const first = this.#rows;
      yield {
        rows: to - from,
        arrays: [
          tokenId?.subarray(from, to) ?? new Int32Array(to - from).fill(UNKNOWN_TOKEN),
          position?.subarray(from, to) ?? new Int32Array(to - from),
          sequence?.subarray(from, to) ?? BigInt64Array.from({ length: to - from }, (_, i) => BigInt(first + i)),
          activation.subarray(from * dIn, to * dIn),
        ],
      };
      this.#rows += to - from;
    }
  }
}

/** `throw` takes anything; what goes on from here is an error with words. */
function asError(thrown: unknown): Error {
  if (thrown instanceof Error || isNativeError(thrown)) return thrown;
  const words = inspect(thrown, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200 });
  return new SaeLensError('USAGE', `The producer of the activations fed threw ${words}, which is no Error`, {
    hint: 'throw an Error that says what happened',
    cause: thrown,
  });
}
