import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of all files below a folder; links are not followed, and what goes away meanwhile counts nothing. */
export async function folderBytes(folder: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    total += entry.isDirectory()
      ? await folderBytes(path)
      : await lstat(path).then(
          ({ size }) => size,
          () => 0,
        );
  }
  return total;
}
