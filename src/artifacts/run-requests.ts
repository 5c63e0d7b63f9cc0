import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { readPlainFile } from './plain-file.ts';
import { runHolder } from './run-lock.ts';

/** What a run can be asked for through its folder. */
export const RUN_REQUESTS = ['stop', 'checkpoint'] as const;
export type RunRequest = (typeof RUN_REQUESTS)[number];

/** A file that is not there costs some microseconds to look for. */
const LOOK_MS = 250;
/** Of a request: the id of a lock has 36. */
const MOST_BYTES = 1024;

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
  const obeyed = new Set<RunRequest>();
  const look = async (what: RunRequest): Promise<void> => {
    const path = requestPath(folder, what);
    const meantFor = await readPlainFile(path, MOST_BYTES);
    // One that cannot be removed is obeyed once, not four times a second.
    if (meantFor === lockId && !obeyed.has(what)) heard(what);
    if (meantFor === null) return void obeyed.delete(what);
    if (meantFor === lockId) obeyed.add(what);
    await rm(path, { force: true }).then(
      () => obeyed.delete(what),
      () => {},
    );
  };
  let isLooking = false;
  const timer = setInterval(async () => {
    // A folder far away may take longer to look into.
    if (isLooking) return;
    isLooking = true;
    await Promise.all(RUN_REQUESTS.map(look));
    isLooking = false;
  }, LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
