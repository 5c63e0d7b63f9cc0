import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { notWritten, syncFolder, toJson, writeFileSynced } from './atomic.ts';
import { type Manifest, writeManifest } from './manifest.ts';
import { foreignFiles, replaceFolder } from './replace-folder.ts';
import type { RunPaths } from './run-folder.ts';
import { RUNNER_CFG_NAME, readSaeFolder, TRAINING_STATE_NAME } from './sae-folder.ts';

/** Where the worker writes what will become a folder, `<final>.<suffix>`: beside it, so that the rename stays on one file system. */
export const stagingSuffix = (): string => `tmp-${randomBytes(4).toString('hex')}`;

export interface CommitOptions {
  /** Written by the worker and fsynced: cfg.json, sae_weights.safetensors, sparsity.safetensors; of several SAEs a folder each. */
  staging: string;
  final: string;
  kind: Manifest['kind'];
  nTrainingSamples: number;
  /** The configuration of each SAE, for its runner_cfg.json: by its folder in `staging`, or under null for the only one. */
  runnerConfigs: ReadonlyMap<string | null, unknown>;
  /** That of the run they are of, where they are several and the run can go on from here. */
  runConfig?: unknown;
  /** It is what the run was for: on failure its files are kept beside `final`, where no later run removes them. */
  keep: boolean;
}

/**
 * Turns a staging folder into a checkpoint or output: checks it, adds runner_cfg.json and, last, the manifest, then
 * renames it. Several SAEs, each with its manifest, become complete at once. On failure what was at `final` stays, and the staging folder is removed or, with `keep`, named in the hint.
 */
export async function commitFolder({
  staging,
  final,
  kind,
  nTrainingSamples,
  runnerConfigs,
  runConfig,
  keep,
}: CommitOptions): Promise<void> {
  try {
    for (const [name, runnerConfig] of runnerConfigs) {
      const folder = name === null ? staging : join(staging, name);
      await readSaeFolder(folder);
      await writeFileSynced(join(folder, RUNNER_CFG_NAME), toJson(runnerConfig));
      await writeManifest(folder, { kind, n_training_samples: nTrainingSamples });
      await syncFolder(folder);
    }
    // Of several SAEs one state of training, for all of them.
    if (!runnerConfigs.has(null) && existsSync(join(staging, TRAINING_STATE_NAME))) {
      await writeFileSynced(join(staging, RUNNER_CFG_NAME), toJson(runConfig));
      await writeManifest(staging, { kind, n_training_samples: nTrainingSamples });
    }
    await syncFolder(staging);
    await replaceFolder(staging, final);
  } catch (error) {
    const kept = keep ? await setAside(staging) : null;
    if (kept === null) await rm(staging, { recursive: true, force: true }).catch(() => {});
    const { code, message, hint, details } =
      error instanceof SaeLensError ? error : notWritten(`Cannot save "${final}"`, dirname(final), error as Error);
    const hints = [hint, kept === null ? undefined : `the files of the SAE are kept in "${kept}"`];
    throw new SaeLensError(code, message, {
      cause: error,
      hint: hints.filter((hint) => hint !== undefined).join('\n') || undefined,
      details: { ...details, ...(kept === null ? {} : { kept }) },
    });
  }
}

/** Gives a staging folder a name that `removeAbandoned` does not know; null when there is none. */
async function setAside(staging: string): Promise<string | null> {
  const kept = staging.replace(/\.tmp-(?=[0-9a-f]{8}$)/, '.unsaved-');
  try {
    await rename(staging, kept);
    return kept;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : staging;
  }
}

/**
 * Removes staging folders that a killed run left behind: of the output and of every checkpoint, in their place or where
 * they went when that was full. Only while the run's places are locked, for a living run's staging folders look the same.
 *
 * @returns what was removed
 */
export async function removeAbandoned({
  checkpoints,
  output,
  rescue = null,
}: Pick<RunPaths, 'checkpoints' | 'output'> & Partial<Pick<RunPaths, 'rescue'>>): Promise<string[]> {
  const removed: string[] = [];
  const isCheckpoint = (name: string): boolean => /^(final_)?\d+$/.test(name);
  for (const [parent, isOurs] of [
    [checkpoints, isCheckpoint],
    [dirname(output), (name: string) => name === basename(output)],
    ...(rescue === null ? [] : [[rescue, (name: string) => isCheckpoint(name) || name === 'output'] as const]),
  ] as const) {
    for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
      const [, final = ''] = /^(.+)\.tmp-[0-9a-f]{8}$/.exec(entry.name) ?? [];
      const path = join(parent, entry.name);
      // A person's own folder may have such a name; what it holds tells.
      if (!entry.isDirectory() || !isOurs(final) || (await foreignFiles(path)).length > 0) continue;
      await rm(path, { recursive: true, force: true });
      removed.push(path);
    }
  }
  return removed;
}
