import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { notWritten } from './atomic.ts';
import { stagingSuffix } from './checkpoints.ts';

/**
 * Removes a folder of ours. First its name: half removed it must not look like one that is damaged.
 *
 * @throws SaeLensError STORAGE
 */
export async function removeFolder(path: string): Promise<void> {
  const aside = `${path}.${stagingSuffix()}`;
  try {
    await rename(path, aside);
    await rm(aside, { recursive: true, force: true });
  } catch (error) {
    throw notWritten(`Cannot remove "${path}"`, dirname(path), error as Error);
  }
}
