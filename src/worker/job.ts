import { SaeLensError } from '../errors.ts';
import { type ColumnArray, toFloat32 } from '../protocol/frames.ts';
import type { Column, ColumnType } from '../protocol/messages.ts';
import type { Batch } from './data-plane.ts';
import type { DownStream } from './down-stream.ts';

/** Numbers with a name and a shape; the first dimension counts the rows. */
export interface NamedArray {
  name: string;
  type: ColumnType;
  shape: readonly number[];
  /** float16 and bfloat16 as raw bits. */
  values: ColumnArray;
}

/** Something that happened while a request ran. */
export interface JobEvent {
  kind: string;
  data: Record<string, unknown>;
}

export interface JobResult {
  value: unknown;
  arrays: NamedArray[];
}

export interface JobOptions {
  /** Cancels the request: the result rejects with INTERRUPTED when the worker has let go of it. */
  signal?: AbortSignal;
  /** Sent down with the request. */
  arrays?: readonly NamedArray[];
  onEvent?: (event: JobEvent) => void;
  /** Rows of a metrics stream: one float64 column for each name. */
  onMetrics?: (batch: Batch) => void;
  /** A batch of activations that `credit` made room for. */
  onActivations?: (batch: Batch) => void;
}

/** Whether the job that something was asked of was running still. */
export interface Asked {
  readonly running: boolean;
}
const ENDED: Asked = { running: false };

/** What a job asks of its worker. */
export interface JobLink {
  ask(op: 'stop' | 'checkpoint_now' | 'end_feed', params: { id: number; frames?: number }): Promise<Asked>;
  credit(id: number, count: number): void;
  feed(id: number, columns: Column[]): Promise<DownStream>;
}

/** A request that is on its way. */
export class Job {
  readonly id: number;
  readonly op: string;
  /** Settles exactly once, also when the worker dies. */
  readonly result: Promise<JobResult>;
  readonly #link: JobLink;
  readonly #options: JobOptions;
  readonly #arrays: NamedArray[] = [];
  #settled = false;
  #settle!: { resolve: (result: JobResult) => void; reject: (error: Error) => void };

  /** @internal Made by `Worker.request`. */
  constructor(id: number, op: string, options: JobOptions, link: JobLink) {
    this.id = id;
    this.op = op;
    this.#link = link;
    this.#options = options;
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever holds the job may look at the result later, or only at its events.
    this.result.catch(() => {});
  }

  /** Whether the result is there. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Asks the handler to finish early and return what it has. The answer says whether it was running still. */
  async stop(): Promise<Asked> {
    return this.#settled ? ENDED : this.#link.ask('stop', { id: this.id });
  }

  /**
   * Asks for a checkpoint at the next step.
   *
   * @throws SaeLensError USAGE when there is no next step
   */
  async checkpointNow(): Promise<void> {
    const answer = this.#settled ? ENDED : await this.#link.ask('checkpoint_now', { id: this.id });
    // It may have ended in the worker while its result is on the way to us.
    if (!answer.running)
      throw new SaeLensError('USAGE', `Cannot take a checkpoint: "${this.op}" has ended`, {
        hint: 'what it left last is in its folder',
      });
  }

  /** Makes room for so many more batches of activations. Without room the worker drops them and counts. */
  credit(count: number): void {
    this.#link.credit(this.id, count);
  }

  /** Opens a stream of frames down to the handler, which says by `credit` events how many it has room for. */
  feed(columns: Column[]): Promise<DownStream> {
    return this.#link.feed(this.id, columns);
  }

  /** Tells the handler that there are so many frames in all. */
  async endFeed(frames: number): Promise<Asked> {
    return this.#settled ? ENDED : this.#link.ask('end_feed', { id: this.id, frames });
  }

  /** @internal */
  event(event: JobEvent): void {
    this.#options.onEvent?.(event);
  }

  /** @internal */
  batch(batch: Batch): void {
    const { stream, header, columns } = batch;
    if (stream.plane === 'metrics') this.#options.onMetrics?.(batch);
    else if (stream.plane === 'tap') this.#options.onActivations?.(batch);
    else {
      const column = stream.columns[0];
      const values = columns[0];
      if (column === undefined || values === undefined) throw new SaeLensError('PROTOCOL', 'An array without numbers');
      this.#arrays.push({ name: stream.name, type: column.type, shape: [header.rows, ...column.shape], values });
    }
  }

  /** @internal */
  resolve(value: unknown, arrays: number): void {
    this.#settled = true;
    const message = `The worker promised ${arrays} arrays for "${this.op}" and sent ${this.#arrays.length}`;
    if (this.#arrays.length === arrays) this.#settle.resolve({ value, arrays: this.#arrays });
    else this.#settle.reject(new SaeLensError('PROTOCOL', message));
  }

  /** @internal */
  reject(error: Error): void {
    this.#settled = true;
    this.#settle.reject(error);
  }
}

/** A float32 array for a request. */
export function float32Array(name: string, values: Float32Array, shape: readonly number[]): NamedArray {
  const size = shape.reduce((a, b) => a * b, 1);
  if (shape.length === 0 || size !== values.length) {
    throw new SaeLensError('USAGE', `Array "${name}" has ${values.length} numbers, its shape [${shape}] needs ${size}`);
  }
  return { name, type: 'float32', shape, values };
}

/** The numbers of an array as float32, widened from half precision where needed. */
export const float32Values = (array: NamedArray): Float32Array => toFloat32(array.type, array.values);
