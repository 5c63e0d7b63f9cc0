import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { link, lstat, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { makeFolder } from './make-folder.ts';
import type { RunPaths } from './run-folder.ts';

const LOCK_NAME = 'lock.json';

const holderSchema = z.object({
  id: z.string(),
  pid: z.int(),
  /** Of the process, in clock ticks since boot: a pid alone is used again. Null where the system does not tell. */
  processStart: z.string().nullable().default(null),
  bootId: z.string().nullable().default(null),
  host: z.string(),
  since: z.string(),
});
type Holder = z.infer<typeof holderSchema>;

/** Held while a run writes to its places; a second run on one of them is refused (faults L6). */
export interface RunLock {
  /** Of this lock and no other, before or after. */
  readonly id: string;
  /** What was found dead and taken over, for a notice. */
  readonly tookOver: { pid: number; since: string } | null;
  release(): Promise<void>;
}

/**
 * Locks every place a run writes to. Output and checkpoints may lie elsewhere and be another run's too; their locks lie
 * beside them, because the folders themselves come and go.
 *
 * @throws SaeLensError STORAGE naming who has the place, or what is there instead of a lock
 */
export async function lockRun({ folder, output, checkpoints, rescue }: RunPaths): Promise<RunLock> {
  const places: [place: string, lock: string][] = [
    [folder, join(folder, LOCK_NAME)],
    [output, `${output}.lock.json`],
    [checkpoints, `${checkpoints}.lock.json`],
    ...(rescue === null ? [] : [[rescue, `${rescue}.lock.json`] satisfies [string, string]]),
  ];
  const held: RunLock[] = [];
  const release = async (): Promise<void> => {
    for (const lock of held.reverse()) await lock.release();
  };
  try {
    for (const [place, lock] of places) held.push(await lockPlace(place, lock, 'train in'));
  } catch (error) {
    await release();
    throw error;
  }
  const id = held[0]?.id as string;
  return { id, tookOver: held.find(({ tookOver }) => tookOver !== null)?.tookOver ?? null, release };
}

/** Who is writing to the folder of a run. */
export type RunHolder = Readonly<Pick<Holder, 'id' | 'pid' | 'host' | 'since'>>;

/** Null when nobody is; a process of another machine counts, for it cannot be asked. */
export async function runHolder(folder: string): Promise<RunHolder | null> {
  const holder = await readHolder(join(folder, LOCK_NAME)).catch(() => null);
  return holder !== null && isAlive(holder) ? holder : null;
}

/**
 * Takes the lock of one place or throws STORAGE naming who has it and what cannot be done. `link` is used because it fails when the name exists,
 * on NFS too. A lock whose process is gone (same host: another boot, no such pid, or a pid used again) is taken over.
 */
export async function lockPlace(place: string, path: string, action: string): Promise<RunLock> {
  await makeFolder(dirname(path));
  const mine: Holder = {
    id: randomUUID(),
    pid: process.pid,
    processStart: processStart(process.pid),
    bootId: bootId(),
    host: hostname(),
    since: new Date().toISOString(),
  };
  let tookOver: RunLock['tookOver'] = null;
  // Two rounds settle every case but a third process taking the dead lock at the same moment; that one is then alive.
  for (let round = 0; ; round++) {
    if (await linkNew(path, mine)) break;
    const holder = await readHolder(path);
    if (holder === null) continue;
    if (round >= 2 || isAlive(holder)) throw refused(place, path, action, holder);
    if (await removeDead(path, holder)) tookOver = { pid: holder.pid, since: holder.since };
  }
  return {
    id: mine.id,
    tookOver,
    async release() {
      if ((await readHolder(path))?.id === mine.id) await rm(path, { force: true });
    },
  };
}

async function linkNew(path: string, holder: Holder): Promise<boolean> {
  const temporary = `${path}.${holder.id}`;
  await writeFile(temporary, `${JSON.stringify(holder)}\n`, { flag: 'w' });
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Null when the lock went away meanwhile. A lock that cannot be read belongs to nobody who could say so. */
async function readHolder(path: string): Promise<Holder | null> {
  try {
    // A pipe would be waited for for ever, and a link that leads nowhere is there and is not.
    if (!(await lstat(path)).isFile()) throw noFile(path);
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (!(error instanceof SyntaxError || error instanceof z.ZodError)) throw error;
    return { id: '', pid: 0, processStart: null, bootId: null, host: hostname(), since: 'unknown' };
  }
}

/** Removes exactly the lock that was found dead; if another process was quicker, its fresh lock is put back. */
async function removeDead(path: string, dead: Holder): Promise<boolean> {
  const aside = `${path}.dead-${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return false;
  }
  const moved = await readHolder(aside);
  if (moved !== null && moved.id !== dead.id) {
    await link(aside, path).catch(() => {});
    await rm(aside, { force: true });
    return false;
  }
  await rm(aside, { force: true });
  return true;
}

function isAlive(holder: Holder): boolean {
  // Another machine cannot be asked; its lock counts until a person removes it.
  if (holder.host !== hostname()) return true;
  if (holder.bootId !== null && holder.bootId !== bootId()) return false;
  if (holder.pid <= 0) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return holder.processStart === null || holder.processStart === processStart(holder.pid);
}

function noFile(path: string): SaeLensError {
  return new SaeLensError('STORAGE', `Cannot take the lock "${path}": what lies there is no file`, {
    hint: 'nothing of ours puts it there; remove it, or choose another place',
    details: { path },
  });
}

function refused(place: string, path: string, action: string, holder: Holder): SaeLensError {
  return new SaeLensError(
    'STORAGE',
    `Cannot ${action} "${place}": process ${holder.pid} on ${holder.host} has been writing there since ${holder.since}`,
    {
      hint: `wait for it, stop it, or choose another place; if that machine is gone, remove "${path}"`,
      details: { place, pid: holder.pid, host: holder.host, since: holder.since },
    },
  );
}

function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; start time is field 22, the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return null;
  }
}
