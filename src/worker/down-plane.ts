import type { Column, Stream } from '../protocol/messages.ts';
import type { Channel } from './channel.ts';
import { DownStream } from './down-stream.ts';
import type { NamedArray } from './job.ts';

/** The way down for numbers: a stream for each array of a request, and for what a request is fed while it runs. */
export class DownPlane {
  readonly #channel: Channel;
  #nextStream = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Sends the arrays of a request, one after the other; resolves when the socket has taken them. */
  async sendArrays(id: number, arrays: readonly NamedArray[]): Promise<void> {
    for (const { name, type, shape, values } of arrays) {
      const [rows = 0, ...rest] = shape;
      const columns = [{ name: 'values', type, shape: rest }];
      const stream = await this.#open({ id, plane: 'array', name, columns });
      await stream.send(rows, [values]);
    }
  }

  /** Opens the stream that a request is fed by. */
  feed(id: number, columns: Column[]): Promise<DownStream> {
    return this.#open({ id, plane: 'feed', name: 'activations', columns });
  }

  #open(stream: Pick<Stream, 'id' | 'plane' | 'name' | 'columns'>): Promise<DownStream> {
    return DownStream.open(this.#channel, { stream: this.#nextStream++, ...stream });
  }
}
