import { SaeLensError } from '../errors.ts';
import { type ColumnArray, encodeFrame, MAX_MESSAGE_BYTES, schemaBytes } from '../protocol/frames.ts';
import type { Stream } from '../protocol/messages.ts';
import type { Channel } from './channel.ts';

/** Room for what travels beside the numbers. */
const BESIDE_BYTES = 2 ** 20;

/** @throws SaeLensError USAGE when an array is too large for one message */
export function checkSize({ name, values }: { name: string; values: ColumnArray }): void {
  if (values.byteLength <= MAX_MESSAGE_BYTES - BESIDE_BYTES) return;
  throw new SaeLensError(
    'USAGE',
    `Array "${name}" has ${values.byteLength} bytes; one message has at most ${MAX_MESSAGE_BYTES - BESIDE_BYTES}`,
    { hint: 'send fewer rows' },
  );
}

/** A stream of frames to the worker: an array of a request, or what it is fed while a request runs. */
export class DownStream {
  readonly #channel: Channel;
  readonly #stream: Omit<Stream, 'type' | 'seq' | 'schema'>;

  private constructor(channel: Channel, stream: Omit<Stream, 'type' | 'seq' | 'schema'>) {
    this.#channel = channel;
    this.#stream = stream;
  }

  /** Announces it. */
  static async open(channel: Channel, stream: Omit<Stream, 'type' | 'seq' | 'schema'>): Promise<DownStream> {
    const schema = schemaBytes(stream.columns).toString('base64');
    await channel.sendControl({ type: 'stream', ...stream, schema });
    return new DownStream(channel, stream);
  }

  /** Sends so many rows, a column each array; resolves when the socket has taken them and the arrays may change. */
  async send(rows: number, arrays: readonly ColumnArray[]): Promise<void> {
    const header = { stream: this.#stream.stream, rows, dropped: 0, step: null };
    await this.#channel.sendDown((seq) => encodeFrame({ ...header, seq }, this.#stream.columns, arrays));
  }
}
