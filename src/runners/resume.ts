import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { toJson } from '../artifacts/atomic.ts';
import { type ResumePoint, readResumePoint, resumePoints } from '../artifacts/resume-point.ts';
import { type RunPaths, type RunRecord, readRunRecord, runFolderOf, runPaths } from '../artifacts/run-folder.ts';
import { fileLayer, fromLayer, type ResolvedConfig, resolveConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { shellWord } from './shell-word.ts';

/** Options that decide no number of a run, and how long it goes on. All others are those that the checkpoint has. */
const MAY_CHANGE: ReadonlySet<string> = new Set([
  'training_tokens',
  'logger',
  'n_checkpoints',
  'checkpoint_every',
  'keep_checkpoints',
  'checkpoints_in_background',
  'save_final_checkpoint',
  'checkpoint_path',
  'rescue_dir',
  'output_path',
  'resume_from_checkpoint',
  'from_pretrained_path',
  'profile',
  'stop_on_loss_explosion',
  'verbose',
]);
/** Options that may name a place from where the run was started: what it reads, or a name of the hub. */
const READ = [
  'model_name',
  'dataset_path',
  'eval_dataset_path',
  'cached_activations_path',
  'resume_from_checkpoint',
] as const;
const WRITTEN = ['checkpoint_path', 'output_path', 'rescue_dir'] as const;

/** A run that was interrupted, as its folder tells of it. */
export interface InterruptedRun {
  readonly runsFolder: string;
  readonly name: string;
  readonly config: ResolvedConfig;
  /** When it began: what is older is of another run that had its name. */
  readonly created: string;
  /** The checkpoint that somebody chose; null for the newest. */
  readonly from: string | null;
}

/**
 * Reads the folder of a run.
 *
 * @param run its name, or its folder
 * @param from a checkpoint of it, by its name or its path
 * @throws SaeLensError USAGE when there is no such run, RESUME_REFUSED, CONFIG_INVALID
 */
export async function openInterruptedRun(run: string, runsFolder: string, from?: string): Promise<InterruptedRun> {
  const folder = runFolderOf(run, runsFolder, 'resume');
  const record = await readRunRecord({ run: join(folder, 'run.json') });
  const { config } = resolveConfig([fileLayer(join(folder, 'config.yaml'))]);
  requireResumable(folder, record, config);
  const places = { runsFolder: dirname(folder), name: basename(folder) };
  const found = { ...places, config, created: record.created };
  if (from === undefined) return { ...found, from: null };
  const { checkpoint_path: checkpointPath, rescue_dir: rescueDir } = config;
  const { checkpoints, rescue } = runPaths({ ...places, checkpointPath, rescueDir });
  if (!/^\d+$/.test(from)) return { ...found, from };
  const own = join(checkpoints, from);
  return { ...found, from: rescue === null || existsSync(own) ? own : join(rescue, from) };
}

function requireResumable(folder: string, { sessions, fed, cwd }: RunRecord, config: ResolvedConfig): void {
  const ended = sessions.at(-1)?.ended;
  if (ended === 'done' || ended === 'data_ended') {
    const hint = 'to train on from it, give a new run its checkpoint: --resume_from_checkpoint';
    throw refused(folder, 'it is finished', hint);
  }
  if (fed) throw refused(folder, 'a program gave its activations, and they are gone', 'start the program again');
  const relative = [
    ...READ.filter((option) => isPlaceBelow(config[option], cwd)),
    ...WRITTEN.filter((option) => !isAbsolute(config[option] ?? '/')),
  ];
  if (cwd !== process.cwd() && relative.length > 0) {
    throw refused(folder, `${relative.join(', ')} start from "${cwd}", where it was started`, `cd "${cwd}"`);
  }
}

/** Whether a path is given relative to the folder, as far as that can be told from a name of the hub. */
function isPlaceBelow(path: string | null, folder: string): boolean {
  if (path === null || path === '' || isAbsolute(path)) return false;
  return existsSync(resolve(folder, path)) || path.startsWith('.');
}

/**
 * The checkpoint to go on from: the newest that is whole. Null where there is none yet: the run begins again.
 *
 * @throws SaeLensError RESUME_REFUSED when the configuration is another one, SAE_INVALID for a checkpoint that somebody
 * chose and that is damaged
 */
export async function pointToGoOnFrom(
  { config, created, from }: InterruptedRun,
  { checkpoints, rescue, folder }: RunPaths,
  log: Logger,
): Promise<ResumePoint | null> {
  if (from !== null) return pointOf(config, from);
  const passOver = (error: Error) => log.warn(`${error.message}; the one before it is used`);
  for await (const point of resumePoints(rescue === null ? [checkpoints] : [checkpoints, rescue], passOver)) {
    if (point.created < created) continue;
    requireSameTraining(config, point, folder);
    return point;
  }
  return config.resume_from_checkpoint === null ? null : pointOf(config, config.resume_from_checkpoint);
}

/**
 * A checkpoint of another run, SAELens' too, or one that somebody chose.
 *
 * @throws SaeLensError SAE_INVALID, RESUME_REFUSED
 */
export async function pointOf(config: ResolvedConfig, path: string): Promise<ResumePoint> {
  const point = await readResumePoint(path);
  if (point.inexact.length > 0) return { ...point, inexact: [...point.inexact, ...otherThanSaeLens(config, point)] };
  requireSameTraining(config, point, path);
  return point;
}

/**
 * What SAELens was told otherwise, as far as its file of the run tells: an option that it did not write may be any.
 *
 * @throws SaeLensError RESUME_REFUSED when it trained another SAE
 */
function otherThanSaeLens(config: ResolvedConfig, { path, config: value }: ResumePoint): string[] {
  if (config.saes !== undefined || Object.keys(value).length === 0) return [];
  const theirs = resolveConfig([fromLayer(path, value)]);
  const given = [...theirs.provenance].filter(([, { layer }]) => layer === 'from').map(([name]) => name.split('.'));
  const differing = given
    .filter(([group = '']) => !MAY_CHANGE.has(group))
    .map((keys) => ({ keys, before: valueAt(theirs.config, keys), now: valueAt(config, keys) }))
    .filter(({ before, now }) => now !== null && !isDeepStrictEqual(before, now));
  const told = ({ keys, before, now }: (typeof differing)[number]) =>
    `${keys.join('.')}: ${JSON.stringify(before)} then, ${JSON.stringify(now)} now`;
  const ofSae = differing.filter(({ keys }) => keys[0] === 'sae').map(told);
  if (ofSae.length === 0) return differing.map(told);
  throw refused(path, `its SAE was another one:\n${ofSae.join('\n')}`, `take its settings: --from ${shellWord(path)}`);
}

const valueAt = (value: unknown, [key, ...rest]: readonly string[]): unknown =>
  key === undefined ? value : valueAt(isObject(value) ? value[key] : undefined, rest);

function requireSameTraining(config: ResolvedConfig, { config: theirs }: ResumePoint, what: string): void {
  const changed = [...differences(JSON.parse(toJson(config)), theirs)];
  if (changed.length === 0) return;
  const hint = 'change them back, or begin a new run; --from_pretrained_path begins with the weights of a checkpoint';
  throw refused(what, `its configuration was another one:\n${changed.join('\n')}`, hint);
}

/** An option that the version of then did not know has its default, which is what that version did. */
function* differences(
  ours: Record<string, unknown>,
  theirs: Readonly<Record<string, unknown>>,
  group = '',
): Generator<string> {
  const ofSaes = group === 'saes.';
  for (const key of Object.keys(ofSaes ? { ...ours, ...theirs } : theirs)) {
    const [now, then] = [ours[key], theirs[key]];
    if ((!ofSaes && MAY_CHANGE.has(key)) || isDeepStrictEqual(now, then)) continue;
    const isGroup = ofSaes || key === 'sae' || key === 'saes';
    if (isGroup && isObject(now) && isObject(then)) yield* differences(now, then, `${group}${key}.`);
    else yield `${group}${key}: ${JSON.stringify(then) ?? 'none'} then, ${JSON.stringify(now) ?? 'none'} now`;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** What is said of it. */
export function goingOnFrom({ path, nTrainingSteps, inexact }: ResumePoint, log: Logger): void {
  if (inexact.length === 0) log.info(`Going on from ${path}, after step ${nTrainingSteps}`);
  else log.warn(`Going on from ${path}, which SAELens wrote, not exactly:\n  ${inexact.join('\n  ')}`);
}

/** @internal */
export const refused = (what: string, why: string, hint: string): SaeLensError =>
  new SaeLensError('RESUME_REFUSED', `Cannot resume "${what}": ${why}`, { hint });
