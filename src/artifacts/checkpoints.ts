import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { syncFolder, toJson, writeFileSynced } from './atomic.ts';
import { type Manifest, readManifest, writeManifest } from './manifest.ts';
import { replaceFolder } from './replace-folder.ts';
import { RUNNER_CFG_NAME, readSaeFolder } from './sae-folder.ts';

/** The folder of the checkpoint taken after so many training samples. */
export const checkpointFolder = (checkpoints: string, nTrainingSamples: number): string =>
  join(checkpoints, String(nTrainingSamples));

/** Where the worker writes what will become `final`: beside it, so that the rename stays on one file system. */
export const stagingFolder = (final: string): string => `${final}.tmp-${randomBytes(4).toString('hex')}`;

export interface CommitOptions {
  /** Written by the worker and fsynced: cfg.json, sae_weights.safetensors, sparsity.safetensors. */
  staging: string;
  final: string;
  kind: Manifest['kind'];
  nTrainingSamples: number;
  /** The run's configuration, for runner_cfg.json. */
  runnerConfig: unknown;
}

/**
 * Turns a staging folder into a checkpoint or output: checks it, adds runner_cfg.json and, last, the manifest, then
 * renames it. On failure the staging folder is removed and what was at `final` stays.
 */
export async function commitFolder({
  staging,
  final,
  kind,
  nTrainingSamples,
  runnerConfig,
}: CommitOptions): Promise<Manifest> {
  try {
    await readSaeFolder(staging);
    await writeFileSynced(join(staging, RUNNER_CFG_NAME), toJson(runnerConfig));
    const manifest = await writeManifest(staging, { kind, n_training_samples: nTrainingSamples });
    await syncFolder(staging);
    await replaceFolder(staging, final);
    return manifest;
  } catch (error) {
    await rm(staging, { recursive: true, force: true }).catch(() => {});
    if (error instanceof SaeLensError) throw error;
    throw new SaeLensError('STORAGE', `Cannot save "${final}": ${(error as Error).message}`, {
      cause: error,
      hint:
        (error as NodeJS.ErrnoException).code === 'ENOSPC'
          ? `free space on the disk of "${dirname(final)}"`
          : undefined,
    });
  }
}

export interface Checkpoint {
  path: string;
  nTrainingSamples: number;
}

/** Complete checkpoints, oldest first. Folders without a readable manifest do not exist (design §7). */
export async function listCheckpoints(checkpoints: string): Promise<Checkpoint[]> {
  const found: Checkpoint[] = [];
  for (const name of await readdir(checkpoints).catch(() => [] as string[])) {
    if (!/^\d+$/.test(name)) continue;
    const path = join(checkpoints, name);
    const manifest = await readManifest(path).catch(() => null);
    if (manifest !== null) found.push({ path, nTrainingSamples: manifest.n_training_samples });
  }
  return found.sort((a, b) => a.nTrainingSamples - b.nTrainingSamples);
}

/**
 * Removes staging folders of `final`, or of every checkpoint in the folder `final` when it is one of checkpoints, that
 * a killed run left behind. Only while the run lock is held: a living run's staging folders look the same.
 */
export async function removeAbandoned(parent: string, name?: string): Promise<string[]> {
  const removed: string[] = [];
  for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
    const match = /^(.+)\.tmp-[0-9a-f]{8}$/.exec(entry.name);
    if (match === null || !entry.isDirectory()) continue;
    if (name === undefined ? !/^(final_)?\d+$/.test(match[1] as string) : match[1] !== basename(name)) continue;
    await rm(join(parent, entry.name), { recursive: true, force: true });
    removed.push(entry.name);
  }
  return removed;
}
