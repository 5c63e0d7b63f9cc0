import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readManifest } from './manifest.ts';
import { removeFolder } from './remove-folder.ts';
import { foreignFiles } from './replace-folder.ts';

/**
 * Removes the oldest of the checkpoints that `checkpoint_every` asked for, all but `keep`. A checkpoint of another kind
 * stays, and so does a folder with anything in it that we did not write.
 *
 * @returns what was removed
 * @throws SaeLensError STORAGE
 */
export async function pruneRecurring(checkpoints: string, keep: number): Promise<string[]> {
  const found: { path: string; created: string }[] = [];
  for (const name of (await readdir(checkpoints)).filter((one) => /^\d+$/.test(one))) {
    const path = join(checkpoints, name);
    const manifest = await readManifest(path).catch(() => null);
    if (manifest?.kind === 'recurring') found.push({ path, created: manifest.created });
  }
  const oldestFirst = found.sort((a, b) => a.created.localeCompare(b.created)).map(({ path }) => path);
  const removed: string[] = [];
  for (const path of oldestFirst.slice(0, Math.max(0, oldestFirst.length - keep))) {
    if ((await foreignFiles(path)).length > 0) continue;
    await removeFolder(path);
    removed.push(path);
  }
  return removed;
}
