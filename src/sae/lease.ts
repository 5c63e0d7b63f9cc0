import { z } from 'zod';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker, type WorkerOptions } from '../worker/worker.ts';
import { callOptions } from './call-options.ts';

const Start = z.strictObject({
  stageDeadlinesMs: z.record(z.string(), z.number('expected milliseconds').positive()).optional(),
});

/** A worker that several holders share; the last one to let go ends it. */
export interface WorkerLease {
  readonly worker: Worker;
  /** Lets go of it. Calling it again does nothing. */
  release(): Promise<void>;
}

interface Shared {
  readonly worker: Promise<Worker>;
  /** The same, as soon as it is there. */
  started: Worker | null;
  holders: number;
}
let shared: Shared | null = null;

/**
 * The given worker, which stays its owner's to end, or the process's shared one. Without the counting, a script would
 * not end: an open socket keeps Node alive.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, WORKER_START
 */
export async function leaseWorker(given?: Worker): Promise<WorkerLease> {
  if (given !== undefined) return { worker: given, release: async () => {} };
  // One that died is nobody's to share; its holders hear of it from their own calls.
  if (shared?.started && shared.started.state !== 'ready') shared = null;
  shared ??= { worker: startWorker(), started: null, holders: 0 };
  const mine = shared;
  mine.holders++;
  const forget = (): void => {
    if (shared === mine) shared = null;
  };
  let held = true;
  const release = async (): Promise<void> => {
    if (!held) return;
    held = false;
    if (--mine.holders > 0) return;
    forget();
    await (await mine.worker).shutdown();
  };
  try {
    const worker = await mine.worker;
    mine.started = worker;
    return { worker, release };
  } catch (error) {
    forget();
    throw error;
  }
}

/**
 * Starts a worker of one's own: what runs in it one after the other shares the loaded language model. End it with
 * `await worker.shutdown()`, or declare it with `await using`. `stageDeadlinesMs` says how long a stage may show no
 * progress before the worker counts as stalled, by its name (`load_model`, `train`) or `default`.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, WORKER_START, USAGE
 */
export async function startWorker(options: Pick<WorkerOptions, 'stageDeadlinesMs'> = {}): Promise<Worker> {
  const { stageDeadlinesMs = {} } = callOptions('start a worker', Start, options);
  const { python } = await requireEnvironment();
  return Worker.start({ python, stageDeadlinesMs });
}
