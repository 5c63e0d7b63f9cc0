import type { Writable } from 'node:stream';
import { redact } from '../log.ts';
import type { RunEvent, Sink } from './sink.ts';

/** What an unread pipe may hold in our memory before lines are dropped. */
const PENDING_BYTES = 8 << 20;

/**
 * `--json`: every event as one line of JSON on stdout, in order, with `time` (ISO 8601) and, when the reader was too
 * slow, `dropped`, the number of lines lost before this one. docs/json-output.md lists the fields. Numbers JSON lacks
 * are null.
 */
export class JsonSink implements Sink {
  readonly name = '--json';
  readonly #out: Writable;
  readonly #now: () => Date;
  #open = true;
  #dropped = 0;

  constructor(out: Writable = process.stdout, now: () => Date = () => new Date()) {
    this.#out = out;
    this.#now = now;
    // The reader went away (`| head`): nobody is left to tell, the run goes on (faults L9).
    out.on('error', () => {
      this.#open = false;
    });
  }

  /** Prints an event as a line, or counts it as dropped where the reader is too slow. */
  consume(event: RunEvent | ({ readonly kind: string } & Readonly<Record<string, unknown>>)): void {
    if (!this.#open) return;
    if (this.#out.writableLength > PENDING_BYTES) {
      this.#dropped++;
      return;
    }
    const { kind, ...fields } = event;
    const dropped = this.#dropped > 0 ? { dropped: this.#dropped } : {};
    this.#dropped = 0;
    this.#out.write(
      `${redact(JSON.stringify({ event: kind, time: this.#now().toISOString(), ...fields, ...dropped }))}\n`,
    );
  }

  async close(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (this.#open && this.#out.writableLength > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
