import { randomBytes } from 'node:crypto';
import { SaeLensError } from '../errors.ts';
import {
  type Event,
  type FromWorker,
  type Hello,
  type Outgoing,
  PROTOCOL_VERSION,
  StageData,
} from '../protocol/messages.ts';
import { refusal } from './admission.ts';
import { Channel, type ChannelOptions } from './channel.ts';
import { readControlMessage } from './control-message.ts';
import { type Batch, DataPlane, Streams } from './data-plane.ts';
import { untilGone, within } from './deadline.ts';
import { DownPlane } from './down-plane.ts';
import { checkSize } from './down-stream.ts';
import { type Asked, Job, type JobOptions, type JobResult, type NamedArray } from './job.ts';
import { defaultEntry, WorkerProcess } from './process.ts';
import { StageClock } from './stage-clock.ts';
import * as failure from './worker-errors.ts';

/** torch on a cold disk takes its time. */
const START_TIMEOUT_MS = 60_000;
const SHUTDOWN_TIMEOUT_MS = 30_000;
/** Answers that only the worker's I/O thread has to give. A worker that holds the GIL may be late. */
const ASK_TIMEOUT_MS = 60_000;
/** How long the data that a result counts on may be on its way. */
const DRAIN_TIMEOUT_MS = 60_000;
/** A lost link of a live process: time for its exit to be seen, or for libzmq to connect again. */
const LINK_GRACE_MS = 2_000;
const STACKS_MS = 1_000;
const SEND_TIMEOUT_MS = 30_000;
const HEARTBEAT = { intervalMs: 2_000, timeoutMs: 20_000 };

export interface WorkerOptions {
  /** The interpreter of the managed environment. */
  python: string;
  /** The script to run; a test runs its own. */
  entry?: string;
  /** Variables added to the allowed part of our environment. */
  env?: Record<string, string>;
  transport?: ChannelOptions['transport'];
  secureBulk?: boolean;
  heartbeat?: ChannelOptions['heartbeat'];
  sendTimeoutMs?: number;
  startTimeoutMs?: number;
  /** Longest silence of a stage, by its name, over the usual ones; `default` for those not named. */
  stageDeadlinesMs?: Readonly<Record<string, number>>;
  onLog?: (stream: 'stdout' | 'stderr', line: string) => void;
}

/**
 * - `starting`: the process runs, the handshake is not done.
 * - `ready`: takes requests.
 * - `stopping`: was told to leave, finishes what it has.
 * - `ended`: the process group and the sockets are gone.
 */
export type WorkerState = 'starting' | 'ready' | 'stopping' | 'ended';

/** The managed Python process: a command server that runs one request at a time. */
export class Worker {
  /** Resolves when nothing is left of it: with the failure, or with nothing after `shutdown`. */
  readonly ended: Promise<SaeLensError | undefined>;
  readonly #channel: Channel;
  readonly #process: WorkerProcess;
  readonly #session: string;
  readonly #jobs = new Map<number, Job>();
  readonly #streams = new Streams();
  readonly #planes = { metrics: new DataPlane('metrics'), up: new DataPlane('activations') };
  readonly #down: DownPlane;
  readonly #clock: StageClock;
  #state: WorkerState = 'starting';
  #hello: Hello | undefined;
  #onHello: (hello: Hello) => void = () => {};
  #onBye: () => void = () => {};
  readonly #bye = new Promise<void>((resolve) => {
    this.#onBye = resolve;
  });
  #resolveEnded: (error: SaeLensError | undefined) => void = () => {};
  #nextId = 1;
  #stageDone: number | null = null;
  #due = 0;

  private constructor(channel: Channel, process: WorkerProcess, session: string, options: WorkerOptions) {
    this.#channel = channel;
    this.#down = new DownPlane(channel);
    this.#process = process;
    this.#session = session;
    this.#clock = new StageClock(options.stageDeadlinesMs ?? {}, (stage, silentMs) =>
      this.#stalled(`showed no progress for ${Math.round(silentMs / 1000)} s`, stage),
    );
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    channel.onLink = (lost) => lost && setTimeout(() => void this.#probe(), LINK_GRACE_MS).unref();
    void this.#read();
    void process.exited.then(async (exit) => {
      // Its last messages may still be on their way to us.
      const said = this.#state === 'stopping' && exit.code === 0;
      if (said) await within(this.#bye, STACKS_MS, () => {});
      const expected = said && this.#jobs.size === 0;
      return this.#end(expected ? undefined : failure.lostError(process, exit, this.#doing()));
    });
  }

  /** Starts a worker and waits for its handshake. */
  static async start(options: WorkerOptions): Promise<Worker> {
    const channel = await Channel.open({
      transport: options.transport ?? 'ipc',
      secureBulk: options.secureBulk ?? true,
      heartbeat: options.heartbeat ?? HEARTBEAT,
      sendTimeoutMs: options.sendTimeoutMs ?? SEND_TIMEOUT_MS,
    });
    const child = new WorkerProcess({
      python: options.python,
      entry: options.entry ?? defaultEntry(),
      env: options.env ?? {},
      onLine: options.onLog ?? (() => {}),
    });
    const session = randomBytes(8).toString('hex');
    const worker = new Worker(channel, child, session, options);
    child.boot(JSON.stringify({ version: PROTOCOL_VERSION, session, parent_pid: process.pid, ...channel.address }));
    try {
      await worker.#handshake(options.startTimeoutMs ?? START_TIMEOUT_MS);
      return worker;
    } catch (error) {
      await worker.#end(error as SaeLensError);
      await worker.ended;
      throw error;
    }
  }

  /** Where it is between its start and its end. */
  get state(): WorkerState {
    return this.#state;
  }

  /** Of the Python process. */
  get pid(): number {
    return this.#hello?.pid ?? 0;
  }

  /** Version of its Python. */
  get python(): string {
    return this.#hello?.python ?? '';
  }

  /** Peers with a wrong key that tried to connect. */
  get refusedPeers(): number {
    return this.#channel.refused;
  }

  /** Why it takes no `op` at this moment, where it does not: it is gone (WORKER_LOST), or it trains (USAGE). */
  refusal(op: string): SaeLensError | undefined {
    return refusal(op, this.#state, this.#jobs.values());
  }

  /** Runs an operation in the worker; requests wait for each other there, but not for a training run. */
  request(op: string, params: Record<string, unknown> = {}, options: JobOptions = {}): Job {
    const job = new Job(this.#nextId++, op, options, {
      ask: (what, params) => this.#ask(what, params),
      credit: (id, count) => void this.#post({ type: 'credit', id, count }),
      feed: (id, columns) => this.#down.feed(id, columns),
    });
    const refused = this.refusal(op);
    if (refused !== undefined) {
      job.reject(refused);
      return job;
    }
    this.#jobs.set(job.id, job);
    this.#clock.running = true;
    void this.#send(job, params, options).catch((error: Error) => {
      this.#finish(job.id, (j) => j.reject(error));
      // What it was told of already, it need not wait for.
      this.#post({ type: 'cancel', id: job.id });
    });
    return job;
  }

  /** Sends arrays, gets a result and arrays: encode, decode. */
  call(op: string, params: Record<string, unknown>, arrays: readonly NamedArray[]): Promise<JobResult> {
    return this.request(op, params, { arrays }).result;
  }

  /**
   * Ends the worker: it finishes what it has (its jobs are asked to stop), everything it sent is delivered, and
   * nothing of it is left. What takes longer than the deadline is killed, and its jobs reject.
   */
  async shutdown({ deadlineMs = SHUTDOWN_TIMEOUT_MS }: { deadlineMs?: number } = {}): Promise<void> {
    if (this.#state === 'ready') {
      this.#state = 'stopping';
      void this.#post({ type: 'request', id: this.#nextId++, op: 'shutdown', params: {}, arrays: 0 });
      await within(this.ended, deadlineMs, () => this.kill());
    }
    await this.ended;
  }

  /** Ends the worker and its children at once; running jobs reject with INTERRUPTED. */
  async kill(): Promise<void> {
    await this.#end(new SaeLensError('INTERRUPTED', 'The worker was killed on request'));
    await this.ended;
  }

  /** Closes it at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #handshake(timeoutMs: number): Promise<void> {
    const hello = new Promise<Hello>((resolve) => {
      this.#onHello = resolve;
    });
    const exited = this.#process.exited.then((exit) => {
      throw failure.startError(this.#process, exit);
    });
    const ended = this.ended.then((error) => {
      throw error;
    });
    const first = await within(Promise.race([hello, exited, ended]), timeoutMs, () => {
      throw failure.startTimeoutError(this.#process, timeoutMs);
    });
    this.#hello = first;
    const problem = failure.helloProblem(first, this.#session);
    if (problem) {
      await this.#post({ type: 'reject', message: problem.message });
      // Time to print why it leaves.
      await within(this.#process.exited, STACKS_MS, () => {});
      throw problem;
    }
    this.#state = 'ready';
    await this.#post({ type: 'welcome' });
  }

  async #read(): Promise<void> {
    const deliver = (batch: Batch): void => {
      this.#clock.touch();
      this.#jobs.get(batch.stream.id)?.batch(batch);
    };
    const readers = [
      this.#readControl(),
      this.#planes.metrics.read(this.#channel.data('metrics'), this.#streams, deliver),
      this.#planes.up.read(this.#channel.data('up'), this.#streams, deliver),
      this.#channel.admission,
    ];
    await Promise.all(readers).catch((cause: Error) =>
      this.#end(cause instanceof SaeLensError ? cause : new SaeLensError('BUG', cause.message, { cause })),
    );
  }

  async #readControl(): Promise<void> {
    for await (const bytes of this.#channel.control()) {
      const message = readControlMessage(bytes);
      if (message.seq !== this.#due++) {
        throw new SaeLensError('PROTOCOL', `Control message ${message.seq} came where ${this.#due - 1} was due`);
      }
      if ((message.type === 'hello') !== (this.#hello === undefined)) {
        throw new SaeLensError('PROTOCOL', `"${message.type}" came in state "${this.#state}"`);
      }
      this.#receive(message);
    }
  }

  #receive(message: FromWorker): void {
    this.#clock.touch();
    switch (message.type) {
      case 'hello':
        this.#hello = message;
        this.#onHello(message);
        return;
      case 'stream':
        this.#streams.announce(message);
        return;
      case 'event':
        this.#event(message);
        return;
      case 'response':
        void this.#settle(message.id, message, (job) => job.resolve(message.result, message.arrays));
        return;
      case 'error': {
        const error = failure.handlerError(message);
        if (message.id === null) return void this.#end(error);
        void this.#settle(message.id, message, (job) => job.reject(error));
        return;
      }
      case 'bye':
        return void this.#drained(message).then(this.#onBye, (error: SaeLensError) => this.#end(error));
    }
  }

  #event({ id, kind, data }: Event): void {
    if (kind === 'stage') {
      const stage = StageData.safeParse(data);
      if (!stage.success) throw new SaeLensError('PROTOCOL', `A malformed stage event: ${stage.error.message}`);
      this.#clock.moved(stage.data.stage);
      this.#stageDone = stage.data.done;
    }
    this.#jobs.get(id)?.event({ kind, data });
  }

  /** A result counts only when everything the worker sent before it has been delivered. */
  async #settle(id: number, sent: { metrics_seq: number; up_seq: number }, how: (job: Job) => void): Promise<void> {
    try {
      await this.#drained(sent);
      this.#finish(id, how);
    } catch (error) {
      this.#finish(id, (job) => job.reject(error as Error));
    }
  }

  async #drained({ metrics_seq, up_seq }: { metrics_seq: number; up_seq: number }): Promise<void> {
    const all = Promise.all([this.#planes.metrics.reached(metrics_seq), this.#planes.up.reached(up_seq)]);
    await within(all, DRAIN_TIMEOUT_MS, () => {
      throw new SaeLensError('PROTOCOL', 'Data that the worker sent never came', { details: { metrics_seq, up_seq } });
    });
  }

  #finish(id: number, how: (job: Job) => void): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#jobs.delete(id);
    this.#streams.forget(id);
    if (this.#jobs.size === 0) this.#clock.running = false;
    how(job);
  }

  async #send(job: Job, params: Record<string, unknown>, options: JobOptions): Promise<void> {
    const arrays = options.arrays ?? [];
    const { signal } = options;
    if (signal?.aborted) throw new SaeLensError('INTERRUPTED', `"${job.op}" was cancelled before it was sent`);
    const onAbort = (): void => void this.#post({ type: 'cancel', id: job.id });
    signal?.addEventListener('abort', onAbort, { once: true });
    void job.result.catch(() => {}).finally(() => signal?.removeEventListener('abort', onAbort));
    arrays.forEach(checkSize);
    await this.#channel.sendControl({ type: 'request', id: job.id, op: job.op, params, arrays: arrays.length });
    await this.#down.sendArrays(job.id, arrays);
  }

  async #ask(op: string, params: Record<string, unknown>): Promise<Asked> {
    const { id, result } = this.request(op, params);
    const late = new SaeLensError('WORKER_STALLED', `The worker did not answer "${op}" for ${ASK_TIMEOUT_MS} ms`);
    await within(result, ASK_TIMEOUT_MS, () => this.#finish(id, (job) => job.reject(late)));
    return (await result).value as Asked;
  }

  /** For messages that nothing waits for: a worker that takes none is judged by its exit, its link and its clock. */
  #post(message: Outgoing): Promise<void> {
    return this.#channel.sendControl(message).catch(() => {});
  }

  /** The link is lost although the process lives: find out whether it is back, without trusting the event alone. */
  async #probe(): Promise<void> {
    if (this.#state !== 'ready' && this.#state !== 'stopping') return;
    const reached = this.#channel.sendControl({ type: 'credit', id: 0, count: 0 }).then(
      () => true,
      () => false,
    );
    const alive = await within(reached, LINK_GRACE_MS, () => false);
    if (!alive) this.#stalled('does not answer: it is stopped, or its link is cut', this.#clock.stage);
  }

  #stalled(reason: string, stage: string | null): void {
    this.#process.dumpStacks();
    const doing = { ...this.#doing(), stage };
    setTimeout(() => void this.#end(failure.stalledError(this.#process, reason, doing)), STACKS_MS);
  }

  #doing(): failure.Doing {
    const [job] = this.#jobs.values();
    return { op: job?.op ?? null, stage: this.#clock.stage, done: this.#stageDone };
  }

  /** The one way into `ended`: nothing of the worker is left, and every job has its answer. */
  async #end(error: SaeLensError | undefined): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#clock.running = false;
    this.#process.kill();
    const fate = error ?? new SaeLensError('WORKER_LOST', 'The worker has been shut down');
    for (const id of [...this.#jobs.keys()]) this.#finish(id, (job) => job.reject(fate));
    await untilGone(this.#process.exited, this.#process.pid);
    await this.#channel.close();
    this.#resolveEnded(error);
  }
}
