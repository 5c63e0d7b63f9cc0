import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { Document, isMap, isPair, isScalar } from 'yaml';
import { SaeLensError } from '../errors.ts';
import { redact } from '../log.ts';
import { notWritten, toJson, writeFileAtomic } from './atomic.ts';
import { makeFolder } from './make-folder.ts';
import { requireReplaceable } from './replace-folder.ts';
import type { ResumePoint } from './resume-point.ts';

/** Every place a run writes to (design §7). */
export interface RunPaths {
  readonly folder: string;
  readonly config: string;
  readonly run: string;
  readonly metrics: string;
  readonly histograms: string;
  readonly log: string;
  /** What the last session failed with, in full: where the log is long and the terminal gone. */
  readonly lastWords: string;
  readonly checkpoints: string;
  readonly output: string;
  /** Where the output or the last checkpoint goes when its own disk is full; null for nowhere. */
  readonly rescue: string | null;
  /** The W&B client's own folder, so that it does not litter the working directory. */
  readonly wandb: string;
}

export interface RunPlaces {
  runsFolder: string;
  name: string;
  /** Overrides `output/`. */
  outputPath?: string | null | undefined;
  /** Overrides `checkpoints/`; the run's name is added, as SAELens adds its run id, so that runs can share it. */
  checkpointPath?: string | null | undefined;
  /** Overrides that there is none; the run's name is added. */
  rescueDir?: string | null | undefined;
}

export function runPaths({ runsFolder, name, outputPath, checkpointPath, rescueDir }: RunPlaces): RunPaths {
  checkRunName(name);
  const folder = resolve(runsFolder, name);
  return {
    folder,
    config: join(folder, 'config.yaml'),
    run: join(folder, 'run.json'),
    metrics: join(folder, 'metrics.jsonl'),
    histograms: join(folder, 'histograms.jsonl'),
    log: join(folder, 'log.jsonl'),
    lastWords: join(folder, 'last-words.json'),
    checkpoints: checkpointPath ? resolve(checkpointPath, name) : join(folder, 'checkpoints'),
    output: outputPath ? resolve(outputPath) : join(folder, 'output'),
    rescue: rescueDir ? resolve(rescueDir, name) : null,
    wandb: folder,
  };
}

/** A run's name becomes a folder, a W&B name and a word on command lines, so it may not be anything else (faults X9). */
export function checkRunName(name: string): void {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name)) return;
  throw new SaeLensError('CONFIG_INVALID', `Cannot name a run ${JSON.stringify(name)}`, {
    hint: 'use 1 to 128 letters, digits, ".", "_" and "-", beginning with a letter, a digit or "_"',
  });
}

/** Whether this is the folder of a run of ours. A pipe called so is none: who reads it waits for ever. */
export function isRunFolder(path: string): boolean {
  try {
    return statSync(join(path, 'run.json')).isFile();
  } catch {
    return false;
  }
}

/**
 * The folder of a run that was named.
 *
 * @param run its name, or its folder
 * @param action what is to be done with it, for the error
 * @throws SaeLensError USAGE when there is no such run
 */
export function runFolderOf(run: string, runsFolder: string, action: string): string {
  const folder = [join(runsFolder, run), run].find(isRunFolder);
  if (folder !== undefined) return resolve(folder);
  throw new SaeLensError('USAGE', `Cannot ${action} "${run}": there is no such run in "${runsFolder}"`, {
    hint: 'give its name, or its folder; --runs_folder names the folder of all runs',
  });
}

/** What decides the numbers of a run, and where it came from (design §10). Grows as the worker reports its part. */
export interface RunRecord {
  name: string;
  created: string;
  /** The command line as given. */
  command: string[];
  seed: number;
  versions: Record<string, string>;
  /**
   * sha256 in hex: of the configuration, and of names and sizes of the files of model and dataset where they are local;
   * the commit where they are on the hub.
   */
  hashes: Record<string, string>;
  /** Device, threads, the CPU capability that torch uses and its build, processor, GPU. */
  machine: Record<string, unknown>;
  /** Of the SAE, the run and its evaluation, as the worker found them. */
  sizes: Record<string, number>;
  /** Whether the activations came from a program: no file can give them again. */
  fed: boolean;
  /** The folder that relative paths of the configuration start from. */
  cwd: string;
  /** W&B's id of the run, so that a resumed one goes on there; null without W&B. */
  wandb_id: string | null;
  /** The first start and every time it was resumed. */
  sessions: RunSession[];
}

/** A stretch of a run from a start to an end; one that was killed has no end. */
export interface RunSession {
  began: string;
  /** The checkpoint it went on from; null for the beginning. */
  from: string | null;
  ended: 'done' | 'stopped' | 'data_ended' | 'failed' | null;
  /** Why it is not what it would have been without an interruption; absent where it is. */
  inexact?: readonly string[];
}

/** A session that begins now. */
export function beginning(point: Pick<ResumePoint, 'path' | 'inexact'> | null): RunSession {
  const inexact = point === null || point.inexact.length === 0 ? {} : { inexact: point.inexact };
  return { began: new Date().toISOString(), from: point?.path ?? null, ended: null, ...inexact };
}

/**
 * Makes every folder the run will write in, so that what is in the way is seen now and not after hours. The output
 * is the one place that is replaced, so nothing of a person's may be there.
 *
 * @throws SaeLensError STORAGE with the option that names the place
 */
export async function makePlaces({ folder, output, checkpoints, rescue }: RunPaths): Promise<void> {
  const around = [folder, checkpoints, rescue].find((place) => place !== null && isWithin(place, output));
  if (around !== undefined) {
    throw new SaeLensError('STORAGE', `Cannot save the SAE as "${output}": the run itself writes to "${around}"`, {
      hint: 'choose a folder of its own: --output_path',
    });
  }
  if (rescue !== null && (rescue === checkpoints || isWithin(rescue, folder))) {
    throw new SaeLensError('STORAGE', `Cannot save to "${rescue}" when a disk is full: the run itself writes there`, {
      hint: 'choose a folder on another disk: --rescue_dir',
    });
  }
  const places: [string, string][] = [
    [folder, '--runs_folder'],
    [dirname(output), '--output_path'],
    [dirname(checkpoints), '--checkpoint_path'],
    ...(rescue === null ? [] : [[rescue, '--rescue_dir'] satisfies [string, string]]),
  ];
  for (const [place, option] of places) {
    try {
      await makeFolder(place);
      await tryToWrite(place);
    } catch (error) {
      throw notWritable(place, option, error as Error);
    }
  }
  await requireReplaceable(output);
  if (rescue !== null) await requireReplaceable(join(rescue, 'output'), '--rescue_dir');
}

/** Permissions do not tell: a superuser may write to `/proc` as far as they go. */
async function tryToWrite(folder: string): Promise<void> {
  const probe = join(folder, `.writable-${randomBytes(4).toString('hex')}`);
  await writeFile(probe, '', { flag: 'wx' });
  await rm(probe);
}

export function notWritable(place: string, option: string, cause: Error): SaeLensError {
  return new SaeLensError('STORAGE', `Cannot write to "${place}": ${cause.message}`, {
    cause,
    hint: `choose a folder you may write to: ${option}`,
  });
}

/** Whether `path` is the folder or lies in it. */
function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/**
 * Makes the folder with config.yaml and run.json. `layers` says for each dotted key which layer set it
 * (`sae.k` → `flag`); keys that are not in it are defaults.
 */
export async function writeRunFolder(
  paths: RunPaths,
  config: Record<string, unknown>,
  layers: Readonly<Record<string, string>>,
  record: RunRecord,
): Promise<void> {
  try {
    await makeFolder(paths.folder);
    await writeFileAtomic(paths.config, redact(configYaml(config, layers)));
    await writeFileAtomic(paths.run, toJson(record));
    await rm(paths.lastWords, { force: true });
  } catch (error) {
    if (error instanceof SaeLensError) throw error;
    throw notWritten(`Cannot write the run folder "${paths.folder}"`, paths.folder, error as Error);
  }
}

/** Adds to run.json what became known later; objects are merged one level deep. */
export async function updateRunRecord(paths: Pick<RunPaths, 'run'>, patch: Partial<RunRecord>): Promise<void> {
  const record: Record<string, unknown> = { ...(await readRunRecord(paths)) };
  for (const [key, value] of Object.entries(patch)) {
    record[key] = isObject(value) && isObject(record[key]) ? { ...record[key], ...value } : value;
  }
  await writeFileAtomic(paths.run, toJson(record));
}

/** @throws SaeLensError STORAGE when it is not there or not whole */
export async function readRunRecord({ run }: Pick<RunPaths, 'run'>): Promise<RunRecord> {
  try {
    return JSON.parse(await readFile(run, 'utf8')) as RunRecord;
  } catch (error) {
    throw new SaeLensError('STORAGE', `Cannot read "${run}": ${(error as Error).message}`, {
      hint: 'sae-lens-ts ls FOLDER lists the runs that are there',
      cause: error,
    });
  }
}

/** The run was resumed. */
export async function addSession(paths: Pick<RunPaths, 'run' | 'lastWords'>, point: ResumePoint | null): Promise<void> {
  await rm(paths.lastWords, { force: true });
  const { sessions } = await readRunRecord(paths);
  await updateRunRecord(paths, { sessions: [...sessions, beginning(point)] });
}

/** The present session is over. */
export async function endSession(paths: Pick<RunPaths, 'run'>, ended: RunSession['ended']): Promise<void> {
  const { sessions } = await readRunRecord(paths);
  const present = sessions.at(-1);
  if (present !== undefined)
    await updateRunRecord(paths, { sessions: [...sessions.slice(0, -1), { ...present, ended }] });
}

/** Keeps an error with all it knows: traceback, last output of the worker, what it was doing. */
export async function writeLastWords({ lastWords }: Pick<RunPaths, 'lastWords'>, error: Error): Promise<void> {
  const { code = 'BUG', message, hint = null, details, stack } = error as Partial<SaeLensError> & Error;
  const at = new Date().toISOString();
  const known = error instanceof SaeLensError ? { details } : { stack };
  await writeFileAtomic(lastWords, redact(toJson({ at, code, message, hint, ...known })));
}

/** The resolved configuration; a comment behind a value says which layer set it. Can be given back to `train --config`. */
export function configYaml(config: Record<string, unknown>, layers: Readonly<Record<string, string>>): string {
  const document = new Document(config);
  const annotate = (node: unknown, path: string): void => {
    if (!isMap(node)) return;
    for (const pair of node.items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue;
      const key = path === '' ? String(pair.key.value) : `${path}.${pair.key.value}`;
      const layer = layers[key];
      if (isScalar(pair.value) && layer !== undefined) pair.value.comment = ` ${layer}`;
      annotate(pair.value, key);
    }
  };
  annotate(document.contents, '');
  return document.toString({ lineWidth: 0 });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
