import type { Logger } from '../log.ts';
import type { RunEvent, Sink } from './sink.ts';

/** All sinks of a run as one. A sink that throws is left out from then on, with a warning; the others go on. */
export class SinkGroup implements Sink {
  readonly name = 'sinks';
  readonly #sinks: Set<Sink>;
  readonly #log: Logger;
  /** Those that are left out, on their way to being closed. */
  readonly #leaving: Promise<void>[] = [];

  constructor(sinks: Iterable<Sink>, log: Logger) {
    this.#sinks = new Set(sinks);
    this.#log = log;
  }

  add(sink: Sink): void {
    this.#sinks.add(sink);
  }

  consume(event: RunEvent): void {
    for (const sink of this.#sinks) {
      try {
        sink.consume(event);
      } catch (error) {
        this.#sinks.delete(sink);
        this.#log.warn(`${sink.name} failed and is left out; training goes on: ${(error as Error).message}`);
        this.#leaving.push(this.#close(sink, LEAVE_MS));
      }
    }
  }

  /** Closes all at the same time; one that does not end in time is given up. */
  async close(deadlineMs: number): Promise<void> {
    await Promise.all([...this.#leaving, ...[...this.#sinks].map((sink) => this.#close(sink, deadlineMs))]);
  }

  async #close(sink: Sink, deadlineMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${deadlineMs} ms`)), deadlineMs + CLOSE_GRACE_MS);
    });
    try {
      await Promise.race([sink.close(deadlineMs), late]);
    } catch (error) {
      this.#log.warn(`${sink.name} could not be closed: ${(error as Error).message}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** For one that failed to let go of what it holds. */
const LEAVE_MS = 5_000;
/** A sink keeps its own deadline; this much later the group stops believing it. */
const CLOSE_GRACE_MS = 500;
