import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { SaeLensError } from '../errors.ts';
import { MANIFEST_NAME, readManifest } from './manifest.ts';
import { readPlainFile } from './plain-file.ts';
import { isRunFolder } from './run-folder.ts';
import { isSae, saesIn } from './sae-folder.ts';

/** Of a file that tells of a run; they have a few kB. */
const MOST_BYTES = 1 << 20;

/** An SAE on this machine, by a name for tables. */
export interface NamedFolder {
  readonly name: string;
  readonly folder: string;
}

/** Where a run keeps what it made. */
export interface RunPlacesOnDisk {
  readonly output: string;
  readonly checkpoints: string;
  /** Where its output or last checkpoint lies, if the disk of its own place was full; null without such a folder. */
  readonly rescue: string | null;
}

/** The places of a run, as its config.yaml names them; a relative one is meant from the folder of that time. */
export async function placesOf(run: string): Promise<RunPlacesOnDisk> {
  const config = await readConfig(run);
  const from = await startedIn(run);
  const place = (value: unknown, own: string, name = ''): string =>
    typeof value === 'string' ? resolve(from, value, name) : join(run, own);
  const output = place(config?.output_path, 'output');
  const name = basename(resolve(run));
  const rescue = typeof config?.rescue_dir === 'string' ? resolve(from, config.rescue_dir, name) : null;
  const checkpoints = place(config?.checkpoint_path, 'checkpoints', name);
  const isOther = rescue !== null && rescue !== checkpoints && existsSync(rescue);
  return { output, checkpoints, rescue: isOther ? rescue : null };
}

/** Null where there is none, or somebody has spoiled it: the run has the usual places then. */
async function readConfig(run: string): Promise<Record<string, unknown> | null> {
  try {
    return parse((await readPlainFile(join(run, 'config.yaml'), MOST_BYTES)) ?? '');
  } catch {
    return null;
  }
}

/** The folder that a run was started in; the present one where its run.json does not tell. */
const startedIn = async (run: string): Promise<string> => (await recorded(run, 'cwd')) ?? '.';

async function recorded(run: string, key: 'cwd' | 'created'): Promise<string | null> {
  try {
    const value = JSON.parse((await readPlainFile(join(run, 'run.json'), MOST_BYTES)) ?? '')[key];
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}

/** Complete checkpoints of a run, oldest first. */
export async function checkpointsOf(run: string): Promise<string[]> {
  const { checkpoints, rescue } = await placesOf(run);
  const found: { path: string; samples: number }[] = [];
  for (const place of rescue === null ? [checkpoints] : [checkpoints, rescue]) {
    for (const name of await readdir(place).catch(() => [] as string[])) {
      const [, samples] = /^(?:final_)?(\d+)$/.exec(name) ?? [];
      if (samples !== undefined) found.push({ path: join(place, name), samples: Number(samples) });
    }
  }
  const complete: string[] = [];
  for (const { path } of found.sort((a, b) => a.samples - b.samples)) {
    if (await isComplete(path)) complete.push(path);
  }
  return complete;
}

const isComplete = async (folder: string): Promise<boolean> =>
  existsSync(join(folder, MANIFEST_NAME)) || (await saesIn(folder)).length > 0;

/** The finished SAE of a run, in its place or where it went when that was full; of an older run of its name is none. */
export async function outputOf(run: string): Promise<string | null> {
  const { output, rescue } = await placesOf(run);
  const began = await recorded(run, 'created');
  for (const place of rescue === null ? [output] : [output, join(rescue, 'output')]) {
    if ((await isComplete(place)) && !(await isOlder(place, began))) return place;
  }
  return null;
}

/** Whether it was there before the run began: a name may be used again, and what is at its places is replaced at the end. */
async function isOlder(folder: string, began: string | null): Promise<boolean> {
  const [name] = existsSync(join(folder, MANIFEST_NAME)) ? ['.'] : await saesIn(folder);
  const manifest = name === undefined ? null : await readManifest(join(folder, name)).catch(() => null);
  // False too where either is no time.
  return manifest !== null && Date.parse(manifest.created) < Date.parse(began ?? '');
}

/**
 * The SAEs that a path means: of an SAE folder itself, of a folder of several each, of a run folder the finished ones
 * or, before it has any, those of its newest checkpoint.
 *
 * @throws SaeLensError SAE_INVALID
 */
export async function saesOf(path: string): Promise<NamedFolder[]> {
  const folder = isRunFolder(path) ? await bestOf(path) : path;
  const names = await readdir(folder).catch((error: Error) => {
    throw noSae(path, error.message);
  });
  if (!isSae(names)) {
    const several = await saesIn(folder);
    if (several.length > 0) {
      return several.map((name) => ({ name: `${nameOf(path)}/${name}`, folder: join(folder, name) }));
    }
  }
  return [{ name: nameOf(path), folder }];
}

async function bestOf(run: string): Promise<string> {
  const output = await outputOf(run);
  if (output !== null) return output;
  const began = await recorded(run, 'created');
  for (const checkpoint of (await checkpointsOf(run)).reverse()) {
    if (!(await isOlder(checkpoint, began))) return checkpoint;
  }
  throw noSae(run, 'the run has neither a finished SAE nor a checkpoint');
}

/** The name of the run, where there is one around it; with the checkpoint's, where it is one. */
function nameOf(path: string): string {
  const folder = resolve(path);
  if (isRunFolder(folder)) return basename(folder);
  const parts = [basename(folder)];
  for (let up = dirname(folder); parts.length < 4; up = dirname(up)) {
    if (isRunFolder(up))
      return [basename(up), ...parts.filter((part) => part !== 'output' && part !== 'checkpoints')].join('/');
    parts.unshift(basename(up));
  }
  return parts.at(-1) as string;
}

const noSae = (path: string, reason: string): SaeLensError =>
  new SaeLensError('SAE_INVALID', `There is no SAE in "${path}": ${reason}`, {
    hint: 'give a run folder, the folder of an SAE, hub:user/repo/folder, or release/id',
  });
