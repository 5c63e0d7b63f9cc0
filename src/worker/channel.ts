import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Context, capability, curveKeyPair, type Observer, Pull, Push, Router, type Socket } from 'zeromq';
import { SaeLensError } from '../errors.ts';
import { MAX_MESSAGE_BYTES } from '../protocol/frames.ts';
import {
  BULK_HIGH_WATER_MARK,
  CONTROL_HIGH_WATER_MARK,
  CONTROL_LIMIT_BYTES,
  METRICS_HIGH_WATER_MARK,
} from '../protocol/limits.ts';
import type { Outgoing } from '../protocol/messages.ts';
import { within } from './deadline.ts';
import { isAllowedKey } from './z85.ts';

const LINGER_MS = 0;
/** The last event of a socket comes within a millisecond, or never. */
const LAST_EVENT_MS = 500;
const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const WORKER_IDENTITY = 'worker';
const IN_DENO = 'Deno' in globalThis;
/** How often a socket is asked there whether it is ready. */
const DENO_LOOKS_MS = 2;

export interface ChannelOptions {
  /** `ipc` in a private folder, or `tcp` on 127.0.0.1. */
  transport: 'ipc' | 'tcp';
  /** CURVE on the bulk sockets too. Without it they are protected by the private folder alone (ipc only). */
  secureBulk: boolean;
  heartbeat: { intervalMs: number; timeoutMs: number };
  /** How long a message may wait for a worker that does not take it; one that holds the GIL still takes it. */
  sendTimeoutMs: number;
}

/** Where the worker connects, and the keys it needs: goes down its stdin. */
export interface ChannelAddress {
  control: string;
  metrics: string;
  up: string;
  down: string;
  server_key: string;
  public_key: string;
  secret_key: string;
  secure_bulk: boolean;
}

interface Sockets {
  control: Router;
  metrics: Pull;
  up: Pull;
  down: Push;
  /** Where libzmq asks who may come in. */
  zap: Router;
}

/** The only door to ZeroMQ: four bound sockets that only one key may talk to. */
export class Channel {
  readonly address: ChannelAddress;
  readonly #folder: string | undefined;
  readonly #sockets: Sockets;
  /** Lets the worker in until the channel is closed; rejects when it no longer can. */
  readonly admission: Promise<void>;
  readonly #observer: Observer;
  readonly #observed: Promise<void>;
  readonly #toControl = new SendQueue('Cannot send to the worker');
  readonly #toDown = new SendQueue('Cannot send arrays to the worker');
  #closed = false;
  /** Peers that were turned away because of their key. */
  refused = 0;
  /** Called when the worker's link is lost (true) or there again (false). */
  onLink: (lost: boolean) => void = () => {};

  private constructor(fields: { address: ChannelAddress; folder: string | undefined; sockets: Sockets }) {
    this.address = fields.address;
    this.#folder = fields.folder;
    this.#sockets = fields.sockets;
    this.#observer = this.#sockets.control.events;
    this.#observed = this.#observe();
    this.admission = this.#authenticate();
    this.admission.catch(() => {});
  }

  /** Binds everything; the worker is told the addresses only afterwards, so nobody can take them first. */
  static async open(options: ChannelOptions): Promise<Channel> {
    const folder = options.transport === 'ipc' ? await privateFolder() : undefined;
    const context = new Context();
    const server = curveKeyPair();
    const worker = curveKeyPair();
    const secure = {
      curveServer: true,
      curveSecretKey: server.secretKey,
      zapDomain: WORKER_IDENTITY,
      // Without anybody to ask, nobody comes in.
      zapEnforceDomain: true,
    };
    const base = { context, linger: LINGER_MS };
    const bulk = {
      ...base,
      ...(options.secureBulk || options.transport === 'tcp' ? secure : {}),
      maxMessageSize: MAX_MESSAGE_BYTES,
    };
    const sockets: Sockets = {
      // A copy: zeromq.js removes `context` from the object it is given.
      zap: new Router({ ...base }),
      control: new Router({
        ...base,
        ...secure,
        mandatory: true,
        sendTimeout: options.sendTimeoutMs,
        sendHighWaterMark: CONTROL_HIGH_WATER_MARK,
        receiveHighWaterMark: CONTROL_HIGH_WATER_MARK,
        maxMessageSize: CONTROL_LIMIT_BYTES,
        heartbeatInterval: options.heartbeat.intervalMs,
        heartbeatTimeout: options.heartbeat.timeoutMs,
      }),
      metrics: new Pull({
        ...base,
        ...secure,
        receiveHighWaterMark: METRICS_HIGH_WATER_MARK,
        maxMessageSize: CONTROL_LIMIT_BYTES,
      }),
      up: new Pull({ ...bulk, receiveHighWaterMark: BULK_HIGH_WATER_MARK }),
      down: new Push({ ...bulk, sendHighWaterMark: BULK_HIGH_WATER_MARK, sendTimeout: options.sendTimeoutMs }),
    };
    const bind = async (name: 'control' | 'metrics' | 'up' | 'down'): Promise<string> => {
      const socket: Socket & { bind(address: string): Promise<void> } = sockets[name];
      await socket.bind(folder === undefined ? 'tcp://127.0.0.1:*' : `ipc://${join(folder, name)}`);
      return socket.lastEndpoint as string;
    };
    try {
      await sockets.zap.bind(ZAP_ENDPOINT);
      const address = {
        control: await bind('control'),
        metrics: await bind('metrics'),
        up: await bind('up'),
        down: await bind('down'),
        server_key: server.publicKey,
        public_key: worker.publicKey,
        secret_key: worker.secretKey,
        secure_bulk: options.secureBulk || options.transport === 'tcp',
      };
      return new Channel({ address, folder, sockets });
    } catch (cause) {
      await release(sockets, folder);
      throw noSockets(cause as Error, folder === undefined ? '127.0.0.1' : tmpdir());
    }
  }

  /** Control messages of the worker, in order. One reader only. */
  async *control(): AsyncGenerator<Buffer> {
    for await (const [, message] of messages(this.#sockets.control)) if (message) yield message;
  }

  /** Data messages of one plane, in order. One reader only. */
  data(plane: 'metrics' | 'up'): AsyncIterable<Buffer[]> {
    return messages(this.#sockets[plane]);
  }

  /** Sends a control message, which gets its number here, after all sent before it. */
  sendControl(message: Outgoing): Promise<void> {
    return this.#toControl.send((seq) =>
      this.#sockets.control.send([WORKER_IDENTITY, JSON.stringify({ ...message, seq })]),
    );
  }

  /** Sends a data message; resolves when the socket has taken it, which is where back-pressure is felt. */
  sendDown(frame: (seq: number) => Buffer[]): Promise<void> {
    return this.#toDown.send((seq) => sendTo(this.#sockets.down, frame(seq)));
  }

  /** Closes the sockets and removes the folder. Messages not yet taken are lost: the worker acknowledges before. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.onLink = () => {};
    await release(this.#sockets, this.#folder);
    await within(this.#observed, LAST_EVENT_MS, () => this.#observer.close());
  }

  /**
   * Tells of the link until libzmq says that the socket is no more. It may never say that: its events go through a socket
   * that is closed without lingering (libzmq issue 3998), and zeromq.js keeps the event loop, and so the process,
   * alive for them. That is the likely cause, by the source of both, of processes seen to stay idle after a success on
   * a busy machine; it did not happen in some 500 tries to provoke it. So `close` ends the waiting. Not before: an observer that is gone while its socket still has
   * something to tell blocks libzmq for ever (libzmq issue 3575).
   */
  async #observe(): Promise<void> {
    while (!this.#observer.closed) {
      const type = await this.#observer.receive().then(
        (event) => event.type,
        // Closed, or an EAGAIN as in `messages`.
        () => null,
      );
      if (type === 'disconnect') this.onLink(true);
      else if (type === 'handshake') this.onLink(false);
    }
  }

  /** ZAP (ZeroMQ RFC 27): libzmq asks here before it lets a peer in. */
  async #authenticate(): Promise<void> {
    for await (const [peer, empty, version, request, , , , mechanism, key] of messages(this.#sockets.zap)) {
      const ok = mechanism?.toString() === 'CURVE' && key !== undefined && isAllowedKey(key, this.address.public_key);
      if (!ok) this.refused++;
      const answer = ok ? ['200', 'OK', WORKER_IDENTITY, ''] : ['400', 'Not the key of the worker', '', ''];
      await this.#sockets.zap.send([peer ?? '', empty ?? '', version ?? '', request ?? '', ...answer]);
    }
  }
}

/** Short, because the path of an ipc socket may not be longer than 107 bytes. */
async function privateFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'sl-')).catch((cause: Error) => {
    throw noSockets(cause, tmpdir());
  });
}

const noSockets = (cause: Error, place: string): SaeLensError =>
  new SaeLensError('WORKER_START', `Cannot open sockets in ${place}: ${cause.message}`, {
    hint: 'set TMPDIR to a short path on a local disk, /tmp for example',
    cause,
  });

async function release(sockets: Sockets, folder: string | undefined): Promise<void> {
  for (const socket of Object.values(sockets) as Socket[]) socket.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
}

/** Whether the installed zeromq can encrypt and authenticate; without it no worker is started. */
export const curveAvailable = (): boolean => capability.curve === true;

/** Messages leave one after the other; only one that the socket took uses up a number, so a failure leaves no gap. */
class SendQueue {
  readonly #complaint: string;
  #last: Promise<void> = Promise.resolve();
  #seq = 0;

  constructor(complaint: string) {
    this.#complaint = complaint;
  }

  /** @throws SaeLensError WORKER_LOST when the socket did not take it; what `hand` itself throws as it is. */
  send(hand: (seq: number) => Promise<void>): Promise<void> {
    const sent = this.#last.then(async () => {
      const taken = hand(this.#seq);
      await taken.catch((cause: Error) => {
        throw new SaeLensError('WORKER_LOST', `${this.#complaint}: ${cause.message}`, { cause });
      });
      this.#seq++;
    });
    this.#last = sent.catch(() => {});
    return sent;
  }
}

/**
 * Messages of a socket until it is closed. zeromq.js 6.8 now and then rejects a receive with EAGAIN although the socket
 * is open; its own iterator would end there. Seen on a busy machine only, and never with a message lost: the numbers of
 * ours would tell. Its cause is not proven. The likely one: after many receives in a row it looks whether there is a
 * message, then reads in a later turn of the event loop without looking again (socket.cc, the end of Receive), and reports
 * what is gone by then instead of waiting. So EAGAIN of an open socket means: ask again.
 */
async function* messages(socket: Router | Pull): AsyncGenerator<Buffer[]> {
  while (!socket.closed) {
    try {
      if (IN_DENO) await readyInDeno(() => socket.closed || socket.readable, Infinity);
      yield await socket.receive();
    } catch (error) {
      if (socket.closed) return;
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

async function sendTo(socket: Push, frame: Buffer[]): Promise<void> {
  if (IN_DENO) await readyInDeno(() => socket.closed || socket.writable, socket.sendTimeout);
  await socket.send(frame);
}

/**
 * Deno's stand-in for libuv loses wake-ups (2.9.8: most CURVE handshakes never end) and crashes where zeromq.js waits
 * with a timeout. A socket that says it is ready is used at once, and neither happens.
 *
 * @throws Error when it is not ready within the deadline
 */
async function readyInDeno(isReady: () => boolean, deadlineMs: number): Promise<void> {
  for (const end = performance.now() + deadlineMs; !isReady(); await sleep(DENO_LOOKS_MS)) {
    if (performance.now() > end) throw new Error(`nothing was taken for ${deadlineMs} ms`);
  }
}
