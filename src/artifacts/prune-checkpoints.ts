import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { folderBytes } from './folder-bytes.ts';
import { readManifest, verifyFolder } from './manifest.ts';
import { removeFolder } from './remove-folder.ts';
import { foreignFiles } from './replace-folder.ts';
import { lockPlace, runHolder } from './run-lock.ts';
import { checkpointsOf } from './run-saes.ts';
import { saesIn } from './sae-folder.ts';

/** Fewer are never left: the newest may be damaged. */
export const FEWEST_CHECKPOINTS = 2;

/** What pruning the checkpoints of a run removes and leaves. */
export interface CheckpointPruning {
  readonly run: string;
  readonly kept: readonly string[];
  readonly removed: readonly { readonly path: string; readonly bytes: number }[];
  /** Those that are damaged or hold what we did not write: they are left, and count for nothing. */
  readonly passedOver: readonly string[];
}

/**
 * Finds the checkpoints that are older than the newest `keep` whole ones: of these every byte is compared with its manifest
 * before an older one may go.
 *
 * @throws SaeLensError STORAGE when the run is going on: it removes its own
 */
export async function prunable(run: string, keep: number): Promise<CheckpointPruning> {
  const holder = await runHolder(run);
  if (holder !== null) {
    throw new SaeLensError('STORAGE', `Cannot prune "${run}": process ${holder.pid} on ${holder.host} is training it`, {
      hint: 'it keeps as many of its own as --keep_checkpoints says; prune it when it has ended',
    });
  }
  const [kept, removed, passedOver]: [string[], { path: string; bytes: number }[], string[]] = [[], [], []];
  const ours: { path: string; created: string }[] = [];
  for (const path of await checkpointsOf(run)) {
    const created = await writtenAt(path);
    if (created === null) passedOver.push(path);
    else ours.push({ path, created });
  }
  // By when they were written, not by their number: one of an older run of this name may have more samples.
  for (const { path } of ours.sort((a, b) => b.created.localeCompare(a.created))) {
    if (kept.length >= Math.max(keep, FEWEST_CHECKPOINTS)) removed.push({ path, bytes: await folderBytes(path) });
    else if (await isWhole(path)) kept.push(path);
    else passedOver.push(path);
  }
  return { run, kept, removed, passedOver };
}

/**
 * Removes what {@link prunable} found, while nobody can go on with the run.
 *
 * @throws SaeLensError STORAGE
 */
export async function prune({ run, removed }: CheckpointPruning): Promise<void> {
  if (removed.length === 0) return;
  const lock = await lockPlace(run, join(run, 'lock.json'), 'prune');
  try {
    // The oldest first: cut off, it leaves the newest.
    for (const { path } of [...removed].reverse()) await removeFolder(path);
  } finally {
    await lock.release();
  }
}

/** When it was written; null without our manifest, and with anything in it that we did not write. */
async function writtenAt(path: string): Promise<string | null> {
  const manifests = await Promise.all((await partsOf(path)).map((part) => readManifest(part))).catch(() => []);
  const [first] = manifests;
  const isOurs = first !== undefined && manifests.every(({ kind }) => kind !== 'output');
  return isOurs && (await foreignFiles(path)).length === 0 ? first.created : null;
}

async function isWhole(path: string): Promise<boolean> {
  return Promise.all((await partsOf(path)).map((part) => verifyFolder(part))).then(
    () => true,
    () => false,
  );
}

/** Of several SAEs each has its manifest. */
async function partsOf(path: string): Promise<string[]> {
  const inside = (await saesIn(path)).map((name) => join(path, name));
  return inside.length > 0 ? inside : [path];
}
