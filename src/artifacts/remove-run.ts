import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { foreignToFeatures, foreignToStaging } from './features-folder.ts';
import { folderBytes } from './folder-bytes.ts';
import { removeFolder } from './remove-folder.ts';
import { foreignFiles } from './replace-folder.ts';
import { readRunRecord } from './run-folder.ts';
import { lockPlace, runHolder } from './run-lock.ts';
import { placesOf } from './run-saes.ts';

/** Files that a run, its resuming, its dashboard or its report write. */
const FILES =
  /^(run\.json|config\.yaml|lock\.json|last-words\.json|(metrics|histograms)(-until-[\dTZ-]+)?\.jsonl|log(\.older)?\.jsonl|report\.html|resume\.out|(output|checkpoints|features)\.lock\.json|(stop|checkpoint)\.request)(\.tmp-[0-9a-f]{8})?$/;
/** What a kill left of the output, and an output that could not be put into its place. */
const OUTPUT = /^output(\.(tmp|old|unsaved)-[0-9a-f]{8})?$/;
/** What a kill left of features, and of their replacement. */
const FEATURES = /^features\.(partial|(old|tmp)-[0-9a-f]{8})$/;
const FEATURES_LOCK = /\.lock\.json(\.tmp-[0-9a-f]{8})?$/;
const CHECKPOINT = /^(final_)?\d+(\.(tmp|old)-[0-9a-f]{8})?$/;
/** How many foreign files an error names. */
const NAMED = 3;

/** A run that may be removed. */
export interface RemovableRun {
  readonly folder: string;
  readonly bytes: number;
  /** What it wrote elsewhere, and what stays. */
  readonly elsewhere: readonly string[];
}

/**
 * Looks whether a folder is that of a run, that nobody is training it, and that it holds nothing that a run does not
 * write.
 *
 * @throws SaeLensError USAGE for what is no run, STORAGE when it is in use or holds what is not ours
 */
export async function removableRun(folder: string): Promise<RemovableRun> {
  const { name, sessions } = await readRunRecord({ run: join(folder, 'run.json') });
  if ((await lstat(folder)).isSymbolicLink() || typeof name !== 'string' || !Array.isArray(sessions)) {
    throw new SaeLensError('USAGE', `Cannot remove "${folder}": it is a link, or no folder of a run of ours`, {
      hint: 'name the folder itself',
    });
  }
  const holder = await runHolder(folder);
  if (holder !== null) {
    throw new SaeLensError(
      'STORAGE',
      `Cannot remove "${folder}": process ${holder.pid} on ${holder.host} is training it`,
      {
        hint: 'stop it first, with Ctrl-C there or in the dashboard',
      },
    );
  }
  const foreign = await foreignTo(folder);
  if (foreign.length > 0) {
    const more = foreign.length > NAMED ? ` and ${foreign.length - NAMED} more` : '';
    throw new SaeLensError(
      'STORAGE',
      `Cannot remove "${folder}": it holds ${foreign.slice(0, NAMED).join(', ')}${more}, which no run writes`,
      { hint: 'move that elsewhere first', details: { foreign } },
    );
  }
  const places = Object.values(await placesOf(folder)).filter((place) => place !== null);
  const elsewhere = places.filter((place) => !place.startsWith(join(folder, '/')));
  return { folder, bytes: await folderBytes(folder), elsewhere };
}

/**
 * Removes what {@link removableRun} found, while nobody can begin to train there.
 *
 * @throws SaeLensError STORAGE
 */
export async function removeRun({ folder }: RemovableRun): Promise<void> {
  const lock = await lockPlace(folder, join(folder, 'lock.json'), 'remove');
  try {
    // Looked at again: it may have been another one when somebody was asked.
    const foreign = await foreignTo(folder);
    if (foreign.length > 0) throw new SaeLensError('STORAGE', `Cannot remove "${folder}": it now holds ${foreign[0]}`);
    await removeFolder(folder);
  } finally {
    await lock.release();
  }
}

/** Everything in the folder of a run that a run does not write there, by its way from it. */
async function foreignTo(folder: string): Promise<string[]> {
  const foreign: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isFile() && FILES.test(entry.name)) continue;
    const own = entry.isDirectory() ? await ownFolder(entry.name, path) : null;
    foreign.push(...(own ?? [entry.name]).map((name) => (own === null ? name : `${entry.name}/${name}`)));
  }
  return foreign;
}

/** What is foreign in features of one SAE, or in the folder of those of several; null where there are none. */
async function foreignToAll(path: string): Promise<string[] | null> {
  const own = await foreignToFeatures(path);
  if (own !== null) return own;
  const entries = await readdir(path, { withFileTypes: true });
  const foreign: string[] = [];
  for (const entry of entries) {
    if (entry.isFile() && FEATURES_LOCK.test(entry.name)) continue;
    const inside = entry.isDirectory() ? await foreignInFeatures(entry.name, join(path, entry.name)) : null;
    foreign.push(...(inside ?? ['']).map((name) => join(entry.name, name)));
  }
  return entries.length > 0 && foreign.length === entries.length ? null : foreign;
}

/** Of a folder that has features, or part of them. */
async function foreignInFeatures(name: string, path: string): Promise<string[] | null> {
  return name.endsWith('.partial') ? foreignToStaging(path) : foreignToFeatures(path);
}

/** What is foreign in a folder that a run writes; null for another folder. The client of W&B keeps its own order. */
async function ownFolder(name: string, path: string): Promise<string[] | null> {
  if (name === 'wandb') return [];
  if (name === 'features') return foreignToAll(path);
  if (FEATURES.test(name)) return foreignInFeatures(name, path);
  if (OUTPUT.test(name)) return foreignFiles(path);
  if (name !== 'checkpoints') return null;
  const foreign: string[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const isOurs = entry.isDirectory() && CHECKPOINT.test(entry.name);
    const inside = isOurs ? await foreignFiles(join(path, entry.name)) : [entry.name];
    foreign.push(...inside.map((one) => (isOurs ? `${entry.name}/${one}` : one)));
  }
  return foreign;
}
