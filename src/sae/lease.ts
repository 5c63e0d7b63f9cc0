import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';

/** A worker that several holders share; the last one to let go ends it. */
export interface WorkerLease {
  readonly worker: Worker;
  /** Lets go of it. Calling it again does nothing. */
  release(): Promise<void>;
}

let shared: Promise<Worker> | null = null;
let holders = 0;

/**
 * The given worker, which stays its owner's to end, or the process's shared one. Without the counting, a script would
 * not end: an open socket keeps Node alive.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, WORKER_START
 */
export async function leaseWorker(given?: Worker): Promise<WorkerLease> {
  if (given !== undefined) return { worker: given, release: async () => {} };
  shared ??= startWorker();
  const mine = shared;
  holders++;
  let held = true;
  const release = async (): Promise<void> => {
    if (!held) return;
    held = false;
    if (--holders > 0 || shared !== mine) return;
    shared = null;
    await (await mine.catch(() => null))?.shutdown();
  };
  try {
    const worker = await mine;
    void worker.ended.then(() => {
      if (shared === mine) [shared, holders] = [null, 0];
    });
    return { worker, release };
  } catch (error) {
    if (shared === mine) [shared, holders] = [null, 0];
    throw error;
  }
}

/**
 * Starts a worker of one's own: what runs in it one after the other shares the loaded language model. End it with
 * `await worker.shutdown()`, or declare it with `await using`.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, WORKER_START
 */
export async function startWorker(): Promise<Worker> {
  const { python } = await requireEnvironment();
  return Worker.start({ python });
}
