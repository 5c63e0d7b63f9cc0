import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { SaeLensError } from '../errors.ts';
import { MANIFEST_NAME } from './manifest.ts';
import { isSae, saesIn } from './sae-folder.ts';

/** An SAE on this machine, by a name for tables. */
export interface NamedFolder {
  readonly name: string;
  readonly folder: string;
}

/** Where a run keeps what it made. */
export interface RunPlacesOnDisk {
  readonly output: string;
  readonly checkpoints: string;
}

/** Whether this is the folder of a run of ours. */
export const isRunFolder = (path: string): boolean => existsSync(join(path, 'run.json'));

/** The places of a run, as its config.yaml names them; a relative one is meant from the folder of that time. */
export async function placesOf(run: string): Promise<RunPlacesOnDisk> {
  const config = parse(await readFile(join(run, 'config.yaml'), 'utf8').catch(() => '')) as Record<
    string,
    unknown
  > | null;
  const from = await startedIn(run);
  const place = (value: unknown, own: string, name = ''): string =>
    typeof value === 'string' ? resolve(from, value, name) : join(run, own);
  const output = place(config?.output_path, 'output');
  const name = basename(resolve(run));
  // Where the disk of the output was full.
  const rescued = typeof config?.rescue_dir === 'string' ? resolve(from, config.rescue_dir, name, 'output') : output;
  return {
    output: existsSync(output) ? output : rescued,
    checkpoints: place(config?.checkpoint_path, 'checkpoints', name),
  };
}

/** The folder that a run was started in; the present one where its run.json does not tell. */
async function startedIn(run: string): Promise<string> {
  try {
    const { cwd } = JSON.parse(await readFile(join(run, 'run.json'), 'utf8')) as { cwd?: unknown };
    return typeof cwd === 'string' ? cwd : '.';
  } catch {
    return '.';
  }
}

/** Complete checkpoints of a run, oldest first. */
export async function checkpointsOf(run: string): Promise<string[]> {
  const { checkpoints } = await placesOf(run);
  const names = await readdir(checkpoints).catch(() => [] as string[]);
  const found = names.flatMap((name) => {
    const [, samples] = /^(?:final_)?(\d+)$/.exec(name) ?? [];
    return samples === undefined ? [] : [{ path: join(checkpoints, name), samples: Number(samples) }];
  });
  const complete: string[] = [];
  for (const { path } of found.sort((a, b) => a.samples - b.samples)) {
    if (existsSync(join(path, MANIFEST_NAME)) || (await saesIn(path)).length > 0) complete.push(path);
  }
  return complete;
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
  const { output } = await placesOf(run);
  const isComplete = existsSync(join(output, MANIFEST_NAME)) || (await saesIn(output)).length > 0;
  const best = isComplete ? output : (await checkpointsOf(run)).at(-1);
  if (best !== undefined) return best;
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
