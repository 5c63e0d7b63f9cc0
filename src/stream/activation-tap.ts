import { SaeLensError } from '../errors.ts';
import { type ColumnArray, toFloat32 } from '../protocol/frames.ts';
import type { Column } from '../protocol/messages.ts';

/** Batches that may be on their way or waiting to be read: with the batch size, the memory a tap may take. */
export const DEFAULT_TAP_CREDITS = 2;

/** Activations of some tokens at one hook, in step `step`. */
export interface ActivationBatch {
  readonly step: number | null;
  readonly rows: number;
  readonly dIn: number;
  /** Row-major, `rows` × `dIn`; half precision is widened. */
  readonly activation: Float32Array;
  readonly tokenId: Int32Array;
  readonly position: Int32Array;
  readonly sequence: BigInt64Array;
  /** Batches that were not sent since the last one, because the reader had no room. */
  readonly dropped: number;
}

interface TapFrame {
  readonly stream: { readonly columns: readonly Column[] };
  readonly header: { readonly step: number | null; readonly rows: number; readonly dropped: number };
  readonly columns: readonly ColumnArray[];
}

/**
 * A look at the activations a run trains on. The worker sends a batch only when there is room (credit), so a slow
 * reader costs dropped batches and never time. One reader; breaking out ends the tap, not the run.
 */
export class ActivationTap implements AsyncIterable<ActivationBatch> {
  readonly #credit: (count: number) => void;
  readonly #credits: number;
  readonly #frames: TapFrame[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #error: Error | undefined;
  #read = false;
  #left = false;

  constructor(credit: (count: number) => void, credits = DEFAULT_TAP_CREDITS) {
    this.#credit = credit;
    this.#credits = credits;
  }

  push(frame: TapFrame): void {
    // On its way when the reader left: nobody will ask for it.
    if (this.#left) return;
    this.#frames.push(frame);
    this.#wake();
  }

  end(error?: Error): void {
    this.#ended = true;
    this.#error ??= error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ActivationBatch, void, void> {
    if (this.#read)
      throw new SaeLensError('USAGE', 'The activations of a run have one reader, and had it already', {
        hint: 'share the batches of that one',
      });
    this.#read = true;
    this.#credit(this.#credits);
    try {
      for (;;) {
        const frame = this.#frames.shift();
        if (frame !== undefined) {
          yield batchOf(frame);
          // Room is made when the reader is done with a batch, not when it arrived.
          this.#credit(1);
        } else if (this.#ended) {
          if (this.#error) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#left = true;
      this.#frames.length = 0;
    }
  }
}

function batchOf({ stream, header, columns }: TapFrame): ActivationBatch {
  const at = (name: string): number => stream.columns.findIndex((column) => column.name === name);
  const activation = stream.columns[at('activation')] as Column;
  return {
    step: header.step,
    rows: header.rows,
    dIn: activation.shape.reduce((a, b) => a * b, 1),
    activation: toFloat32(activation.type, columns[at('activation')] as ColumnArray),
    tokenId: columns[at('token_id')] as Int32Array,
    position: columns[at('position')] as Int32Array,
    sequence: columns[at('sequence')] as BigInt64Array,
    dropped: header.dropped,
  };
}
