import { type CheckpointPruning, prunable, prune } from '../artifacts/prune-checkpoints.ts';
import { type RemovableRun, removableRun, removeRun } from '../artifacts/remove-run.ts';
import { runFolderOf } from '../artifacts/run-folder.ts';
import { runHolder } from '../artifacts/run-lock.ts';
import { listRuns } from './runs.ts';

/**
 * Looks at all runs that are to go, before one of them does.
 *
 * @throws SaeLensError USAGE for what is no run, STORAGE for one in use or with files that no run writes
 */
export async function removableRuns(runs: readonly string[], runsFolder: string): Promise<RemovableRun[]> {
  const folders = new Set(runs.map((run) => runFolderOf(run, runsFolder, 'remove')));
  return Promise.all([...folders].map((folder) => removableRun(folder)));
}

export async function removeRuns(runs: readonly RemovableRun[]): Promise<void> {
  for (const run of runs) await removeRun(run);
}

/**
 * Looks for the checkpoints of runs that are older than their newest `keep`.
 *
 * @param runs none for all of the folder that are not going on
 */
export async function prunableRuns(
  runs: readonly string[],
  runsFolder: string,
  keep: number,
): Promise<CheckpointPruning[]> {
  const named = runs.map((run) => runFolderOf(run, runsFolder, 'prune'));
  const folders = runs.length > 0 ? [...new Set(named)] : await idleRuns(runsFolder);
  const found: CheckpointPruning[] = [];
  for (const folder of folders) found.push(await prunable(folder, keep));
  return found;
}

export async function pruneRuns(prunings: readonly CheckpointPruning[]): Promise<void> {
  for (const pruning of prunings) await prune(pruning);
}

async function idleRuns(runsFolder: string): Promise<string[]> {
  const folders = (await listRuns(runsFolder)).map(({ folder }) => folder);
  const holders = await Promise.all(folders.map((folder) => runHolder(folder)));
  return folders.filter((_, i) => holders[i] === null);
}
