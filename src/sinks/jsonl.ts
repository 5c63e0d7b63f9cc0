import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Logger } from '../log.ts';
import type { RunEvent, Sink } from './sink.ts';

/** Rows kept while the disk is slow; a row is about 1 KB. Beyond it the newest are dropped and counted. */
const QUEUE_ROWS = 10_000;

/** A line for an event; null for one that is not of this file. */
type LineOf = (event: RunEvent) => object | null;

/** `{"step": 10, "losses/mse_loss": 0.1, …}` with SAELens' names, and `"sae": "name"` where a run has several. */
export const metricsLine: LineOf = (event) => {
  if (event.kind !== 'metrics') return null;
  const { step, sae, row } = event;
  return { step, ...(sae === undefined ? {} : { sae }), ...row };
};

/** How often the latents are active, as log10, over the course of a run. */
export const densityLine: LineOf = (event) => {
  if (event.kind !== 'histogram' || event.name !== 'plots/feature_density_line_chart') return null;
  const { kind: _, step, ...histogram } = event;
  return { step, ...histogram };
};

/**
 * A file with a line for each event of a kind; values JSON lacks are null. A full disk costs rows, never the run: the
 * file is cut back to its last whole line and writing goes on later.
 */
export class JsonlSink implements Sink {
  readonly name: string;
  readonly #path: string;
  readonly #log: Logger;
  readonly #lineOf: LineOf;
  #queue: string[] = [];
  #dropped = 0;
  #warned = false;
  #file: FileHandle | null = null;
  #size = 0;
  #writing: Promise<void> | null = null;

  constructor(path: string, log: Logger, lineOf = metricsLine) {
    this.name = basename(path);
    this.#path = path;
    this.#lineOf = lineOf;
    this.#log = log;
  }

  /** Rows that are not in the file. */
  get dropped(): number {
    return this.#dropped;
  }

  consume(event: RunEvent): void {
    const line = this.#lineOf(event);
    if (line === null) return;
    if (this.#queue.length >= QUEUE_ROWS) this.#dropped++;
    else this.#queue.push(`${JSON.stringify(line)}\n`);
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = null;
    });
  }

  /** Every row so far is on the disk, or counted as lost. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    await this.#file?.datasync();
  }

  async close(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    await this.#file?.close();
    if (this.#dropped > 0) this.#log.warn(`${this.#path} lacks ${this.#dropped} rows that could not be written`);
  }

  async #drain(): Promise<void> {
    // Rows of the same tick go out as one write.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const rows = this.#queue;
      this.#queue = [];
      await this.#append(rows.join('')).catch((error: Error) => this.#lost(rows.length, error));
    }
  }

  async #append(text: string): Promise<void> {
    if (this.#file === null) {
      this.#file = await open(this.#path, 'a');
      this.#size = (await this.#file.stat()).size;
    }
    const bytes = Buffer.from(text);
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#file.write(bytes, done, bytes.length - done)).bytesWritten;
      }
      this.#size += bytes.length;
    } catch (error) {
      // A cut-off line would swallow the next one.
      await this.#file.truncate(this.#size).catch(() => {});
      throw error;
    }
  }

  #lost(rows: number, error: Error): void {
    this.#dropped += rows;
    if (this.#warned) return;
    this.#warned = true;
    this.#log.warn(`cannot write ${this.#path}: ${error.message}; training goes on, these rows are lost`);
  }
}
