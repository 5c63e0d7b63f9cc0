import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { runHolder } from './run-lock.ts';

/** What a run can be asked for through its folder. */
export const RUN_REQUESTS = ['stop', 'checkpoint'] as const;
export type RunRequest = (typeof RUN_REQUESTS)[number];

/** A file that is not there costs some microseconds to look for. */
const LOOK_MS = 250;

const requestPath = (folder: string, what: RunRequest): string => join(folder, `${what}.request`);

/**
 * Asks a run, of whatever process and machine, by a file in its folder: who may write there may ask. It holds the lock of the run
 * it is meant for, so that no later one takes it for its own.
 *
 * @throws SaeLensError USAGE when nobody is training there
 */
export async function requestOfRun(folder: string, what: RunRequest): Promise<void> {
  const holder = await runHolder(folder);
  if (holder === null) {
    throw new SaeLensError('USAGE', `Cannot ask the run in "${folder}" to ${what}: it is not going on`);
  }
  await writeFileAtomic(requestPath(folder, what), holder.id);
}

/** Hears what a run is asked for while it goes on; gives back what ends the hearing. */
export function hearRequests(folder: string, lockId: string, heard: (what: RunRequest) => void): () => void {
  const timer = setInterval(async () => {
    for (const what of RUN_REQUESTS) {
      const path = requestPath(folder, what);
      const meantFor = await readFile(path, 'utf8').catch(() => null);
      if (meantFor === null) continue;
      await rm(path, { force: true }).catch(() => {});
      if (meantFor === lockId) heard(what);
    }
  }, LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
