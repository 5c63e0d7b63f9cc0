import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { redact } from '../log.ts';

/**
 * Writes that are there whole or not at all: temporary name, fsync, rename, fsync of the parent. A reader never sees
 * half a file, and neither does the disk after a power loss.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp-${randomBytes(4).toString('hex')}`;
  try {
    await writeFileSynced(temporary, data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
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

/**
 * Puts a complete staging folder in the place of `final`. What was there before is set aside first and removed last,
 * so that a kill between any two steps leaves either the old or the new folder, at worst under the name that
 * `restoreReplaced` knows. Both must be on the same file system.
 */
export async function replaceFolder(staging: string, final: string): Promise<void> {
  await mkdir(dirname(final), { recursive: true });
  await restoreReplaced(final);
  const aside = `${final}.old-${randomBytes(4).toString('hex')}`;
  const replaced = await rename(final, aside).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  try {
    await rename(staging, final);
  } catch (error) {
    if (replaced) await rename(aside, final);
    throw error;
  }
  await syncFolder(dirname(final));
  if (replaced) await rm(aside, { recursive: true, force: true });
}

/** Undoes a replacement that a kill cut in half: brings the set-aside folder back, or removes it when the new one is there. */
export async function restoreReplaced(final: string): Promise<void> {
  const parent = dirname(final);
  const names = await readdir(parent).catch(() => [] as string[]);
  const aside = names.filter((name) => name.startsWith(`${basename(final)}.old-`));
  let present = names.includes(basename(final));
  for (const name of aside) {
    if (present) {
      await rm(join(parent, name), { recursive: true, force: true });
    } else {
      await rename(join(parent, name), final);
      present = true;
    }
  }
}
