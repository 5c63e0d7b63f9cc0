import { SaeLensError } from '../errors.ts';
import { type ColumnArray, decodeFrame, FrameError, readHeader } from '../protocol/frames.ts';
import type { FrameHeader, Stream } from '../protocol/messages.ts';

/** The announcement travels on another socket and may come a little later than the frame. */
const ANNOUNCE_TIMEOUT_MS = 10_000;

/** A decoded data message. */
export interface Batch {
  stream: Stream;
  header: FrameHeader;
  columns: readonly ColumnArray[];
}

/** The streams a worker announced. */
export class Streams {
  readonly #known = new Map<number, { stream: Stream; schema: Buffer }>();
  readonly #waiting = new Map<number, () => void>();

  announce(stream: Stream): void {
    this.#known.set(stream.stream, { stream, schema: Buffer.from(stream.schema, 'base64') });
    this.#waiting.get(stream.stream)?.();
  }

  /** The request is over: its streams say nothing more. */
  forget(job: number): void {
    for (const [number, { stream }] of this.#known) if (stream.id === job) this.#known.delete(number);
  }

  async get(number: number): Promise<{ stream: Stream; schema: Buffer }> {
    if (!this.#known.has(number)) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ANNOUNCE_TIMEOUT_MS);
        this.#waiting.set(number, resolve);
      });
      clearTimeout(timer);
      this.#waiting.delete(number);
    }
    const found = this.#known.get(number);
    if (found === undefined) throw new FrameError(`Stream ${number} was never announced`);
    return found;
  }
}

/** Reads one plane: checks, order, delivery. */
export class DataPlane {
  readonly #name: string;
  #received = 0;
  #waiting: { seq: number; resolve: () => void }[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Delivers every message in order until the socket closes.
   * @throws SaeLensError PROTOCOL at the first message that is broken or out of order
   */
  async read(messages: AsyncIterable<Buffer[]>, streams: Streams, deliver: (batch: Batch) => void): Promise<void> {
    for await (const parts of messages) {
      try {
        const header = readHeader(parts);
        if (header.seq !== this.#received) {
          throw new FrameError(`Message ${header.seq} came where ${this.#received} was due`);
        }
        const { stream, schema } = await streams.get(header.stream);
        deliver({ stream, header, columns: decodeFrame(parts, header, stream.columns, schema) });
      } catch (cause) {
        if (!(cause instanceof FrameError)) throw cause;
        throw new SaeLensError(
          'PROTOCOL',
          `The worker sent a broken message on the ${this.#name} plane: ${cause.message}`,
          {
            cause,
            details: { plane: this.#name, seq: this.#received },
          },
        );
      }
      this.#received++;
      const due = this.#waiting.filter(({ seq }) => seq <= this.#received);
      if (due.length > 0) this.#waiting = this.#waiting.filter(({ seq }) => seq > this.#received);
      for (const { resolve } of due) resolve();
    }
  }

  /** Resolves when so many messages have been delivered. */
  async reached(seq: number): Promise<void> {
    if (this.#received >= seq) return;
    await new Promise<void>((resolve) => this.#waiting.push({ seq, resolve }));
  }
}
