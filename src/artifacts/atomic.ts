import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { redact } from '../log.ts';

/**
 * Writes that are there whole or not at all: temporary name, fsync, rename, fsync of the parent. A reader never sees
 * half a file, and neither does the disk after a power loss.
 *
 * @throws SaeLensError STORAGE
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp-${randomBytes(4).toString('hex')}`;
  try {
    await writeFileSynced(temporary, data);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw notWritten(`Cannot write "${path}"`, dirname(path), error as Error);
  }
}

/** What could not be written, as one failure with what to do about the folder it lies in. */
export function notWritten(what: string, folder: string, cause: NodeJS.ErrnoException): SaeLensError {
  const isFull = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  return new SaeLensError('STORAGE', `${what}: ${cause.message}`, {
    cause,
    hint: isFull ? `free space on the disk of "${folder}"` : 'choose a folder you may write to',
  });
}

/** A new file whose bytes are on the disk when this returns. `wx`: a symlink waiting there is not followed. */
export async function writeFileSynced(path: string, data: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o644);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** JSON as artifacts hold it: secrets removed, numbers that JSON lacks refused by `null` as JSON.stringify does. */
export function toJson(value: unknown, indent = 2): string {
  return `${redact(JSON.stringify(value, null, indent))}\n`;
}

/** Makes renames inside the folder durable. Windows cannot open folders; there the file system orders them. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
