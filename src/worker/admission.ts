import { SaeLensError } from '../errors.ts';

/** These take the worker for themselves, for minutes or days: what comes meanwhile is refused, not left to wait unseen. */
const LONG_OPERATIONS: ReadonlySet<string> = new Set(['train', 'cache_activations', 'repair_activation_cache']);
/** Welcome all the same: the worker's I/O thread answers them, and nobody waits for an SAE to be unloaded. */
const WELCOME_MEANWHILE: ReadonlySet<string> = new Set(['stop', 'checkpoint_now', 'end_feed', 'ping', 'unload_sae']);
const HINT = 'use another worker: await startWorker()';

/** Why a worker in this state, with these jobs, takes no `op`; nothing when it does. */
export function refusal(op: string, state: string, jobs: Iterable<{ readonly op: string }>): SaeLensError | undefined {
  if (state !== 'ready') {
    return new SaeLensError('WORKER_LOST', `Cannot run "${op}": the worker is ${state}`, { hint: HINT });
  }
  const long = [...jobs].find((job) => LONG_OPERATIONS.has(job.op));
  if (long === undefined || WELCOME_MEANWHILE.has(op)) return undefined;
  return new SaeLensError('USAGE', `Cannot run "${op}": the worker is busy with "${long.op}" until that ends`, {
    hint: `wait for it (await run.done), or ${HINT}`,
  });
}
