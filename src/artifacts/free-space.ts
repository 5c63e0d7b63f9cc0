import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { SaeLensError } from '../errors.ts';

/** Bytes an ordinary user may still write where `path` is or will be. */
export async function freeSpace(path: string): Promise<number> {
  for (let place = resolve(path); ; place = dirname(place)) {
    try {
      const { bavail, bsize } = await statfs(place);
      return bavail * bsize;
    } catch (error) {
      // The folder may not exist yet: its nearest parent is on the same disk. Whoever makes it sees what is in the way.
      const { code = '' } = error as NodeJS.ErrnoException;
      if (!['ENOENT', 'ENOTDIR'].includes(code) || place === dirname(place)) throw error;
    }
  }
}

/** Refuses before the run what would fail in its last minute (faults S1). */
export async function requireFreeSpace(path: string, neededBytes: number): Promise<void> {
  const free = await freeSpace(path);
  if (free >= neededBytes) return;
  throw new SaeLensError(
    'STORAGE',
    `Cannot write to "${path}": the run needs ${gib(neededBytes)} and ${gib(free)} are free`,
    {
      hint: 'free some space, lower n_checkpoints, or set output_path and checkpoint_path to another disk',
      details: { path, needed_bytes: neededBytes, free_bytes: free },
    },
  );
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
