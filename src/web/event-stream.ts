import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';

/** A browser that takes nothing for so long is dropped; it comes back and says where it was (faults D5). */
const WRITE_MS = 15_000;
/** A page keeps one open; more than these are no people. */
const MOST_STREAMS = 64;

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  /** What the browser says, as `Last-Event-ID`, when it comes back after a break. */
  readonly id?: string;
}

/** Gives an event to the browser; resolves when it has taken it, so nothing piles up here. */
export type SendEvent = (event: ServerEvent) => Promise<void>;

/** The server-sent events of a site. */
export class EventStreams {
  readonly #writeMs: number;
  #open = 0;

  /** @param writeMs how long a browser may take nothing */
  constructor(writeMs = WRITE_MS) {
    this.#writeMs = writeMs;
  }

  /** Answers with the events that `produce` sends, until it returns or the browser goes away. */
  answer(c: Context, produce: (send: SendEvent, gone: AbortSignal) => Promise<void>): Response {
    if (this.#open >= MOST_STREAMS) return c.text(`Refused: ${MOST_STREAMS} pages are open already\n`, 503);
    this.#open++;
    const { outgoing } = c.env as HttpBindings;
    const run = async (stream: Parameters<Parameters<typeof streamSSE>[1]>[0]): Promise<void> => {
      const gone = new AbortController();
      stream.onAbort(() => gone.abort());
      const send: SendEvent = async (event) => {
        const late = setTimeout(() => outgoing.destroy(), this.#writeMs);
        await stream.writeSSE(event);
        clearTimeout(late);
      };
      await produce(send, gone.signal).finally(() => this.#open--);
    };
    return streamSSE(c, run, async () => {});
  }
}
