import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/**
 * sha256 in hex over the names and sizes of the files at a path: says cheaply whether two runs read the same model or
 * dataset, where hashing the bytes would take minutes. Null for what is not on this machine, as a name on the hub.
 */
export async function listingHash(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  if (found === null) return null;
  const lines = found.isDirectory() ? await filesBelow(path) : [JSON.stringify(['', found.size])];
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

async function filesBelow(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const file = entry.isDirectory() ? null : await stat(path).catch(() => null);
    if (file?.isFile()) lines.push(JSON.stringify([relative(folder, path), file.size]));
  }
  return lines.sort();
}
