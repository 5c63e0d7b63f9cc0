import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SaeLensError } from '../errors.ts';

const POLL_MS = 200;
const HEARTBEAT_MS = 5_000;
/** A holder that missed this many milliseconds of heartbeats is gone (also on another host of a shared home). */
const STALE_MS = 60_000;

interface Holder {
  readonly pid: number;
  readonly host: string;
}

/**
 * Runs `work` while holding the lock file, so that two set-ups never build the same thing at once. A lock left by a
 * process that died is taken over.
 *
 * @param deadlineMs How long to wait for another holder.
 * @throws SaeLensError SETUP_FAILED when the other holder does not finish in time.
 */
export async function withSetupLock<T>(path: string, deadlineMs: number, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const deadline = Date.now() + deadlineMs;
  while (!(await take(path))) {
    if (await isAbandoned(path)) await removeAbandoned(path);
    else if (Date.now() > deadline) {
      throw new SaeLensError('SETUP_FAILED', `Another set-up still holds ${path} after ${deadlineMs / 1000} s`, {
        hint: `Wait for it, or delete ${path} if no other set-up is running`,
      });
    } else await sleep(POLL_MS);
  }
  const heartbeat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => {}), HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(JSON.stringify({ pid: process.pid, host: hostname() } satisfies Holder));
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    if (Date.now() - (await stat(path)).mtimeMs > STALE_MS) return true;
    const holder = JSON.parse(await readFile(path, 'utf8')) as Holder;
    return holder.host === hostname() && !isAlive(holder.pid);
  } catch {
    // Gone meanwhile, or its holder has not written its name yet: ask again.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Rename is atomic: of two waiters that saw the same dead holder only one takes its file away. Who was late and took
 * the new holder's file puts it back.
 */
async function removeAbandoned(path: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  const moved = await rename(path, aside).then(
    () => true,
    () => false,
  );
  if (moved && !(await isAbandoned(aside))) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}
