import { basename, join, relative } from 'node:path';
import { folderBytes } from '../artifacts/folder-bytes.ts';
import { runFolderOf } from '../artifacts/run-folder.ts';
import { RunStore } from '../dashboard/run-store.ts';
import type { Checkpoint, ListedRun, RunFacts } from '../dashboard/shown.ts';
import { commandsForRun, type NextStep } from './next-steps.ts';

/** A run in a list. */
export interface RunEntry extends ListedRun {
  /** As a command takes it. */
  readonly folder: string;
  readonly bytes: number;
}

/** The runs below a folder, the newest first, read from their files. */
export async function listRuns(runsFolder: string): Promise<RunEntry[]> {
  const store = new RunStore(runsFolder);
  const entries: RunEntry[] = [];
  for (const run of await store.list()) {
    const folder = join(store.folder, run.id);
    entries.push({ ...run, folder: shortest(folder), bytes: await folderBytes(folder) });
  }
  return entries;
}

/** What is known of one run. */
export interface RunView {
  readonly name: string;
  readonly folder: string;
  readonly bytes: number;
  readonly facts: RunFacts;
  readonly checkpoints: readonly Checkpoint[];
  /** Of each SAE, `''` for the only one: by the name of the metric its last value and points of its line. */
  readonly metrics: Readonly<
    Record<string, Readonly<Record<string, { last: number | null; values: readonly number[] }>>>
  >;
  readonly advice: readonly { readonly seen: string; readonly try: string }[];
  /** What its last session failed with. */
  readonly lastWords: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
  readonly next: readonly NextStep[];
}

/**
 * Reads what a run has left.
 *
 * @param run its name, or its folder
 * @throws SaeLensError USAGE when there is no such run
 */
export async function showRun(run: string, runsFolder: string): Promise<RunView> {
  const folder = runFolderOf(run, runsFolder, 'show');
  const store = new RunStore(folder);
  const { facts, checkpoints, advice, failure: lastWords } = await store.completeDetails('.');
  const { saes } = await store.series('.');
  const metrics = Object.entries(saes).map(([sae, lines]) => {
    const named = Object.entries(lines).map(([name, { values }]) => [name, { last: values.at(-1) ?? null, values }]);
    return [sae, Object.fromEntries(named)];
  });
  return {
    name: facts.name === '' ? basename(folder) : facts.name,
    folder: shortest(folder),
    bytes: await folderBytes(folder),
    facts,
    checkpoints,
    metrics: Object.fromEntries(metrics),
    advice,
    lastWords,
    next: commandsForRun(folder, facts.state, lastWords?.code),
  };
}

/** From here where it lies below, else from the root. */
function shortest(folder: string): string {
  const way = relative(process.cwd(), folder);
  return way === '' ? '.' : way.startsWith('..') ? folder : way;
}
