import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { MANIFEST_NAME, verifyFolder } from './manifest.ts';
import { RUNNER_CFG_NAME, TRAINING_STATE_NAME, TRAINING_TENSORS_NAME } from './sae-folder.ts';

/** What SAELens' trainer keeps beside the weights. */
const SAELENS_STATE_NAME = 'trainer_state.pt';
/** What it does not keep (reference/saelens.md §4.2). */
const NOT_IN_SAELENS = [
  'the place in the data is reckoned from the number of samples: some rows may come again, or never',
  'the mixing buffer is filled anew',
  'random numbers are drawn anew',
  'of the sparsity windows before the present one nothing is known',
];

/** A checkpoint that training can go on from; every byte of it was compared with its manifest, where it has one. */
export interface ResumePoint {
  readonly path: string;
  /** When it was written, ISO 8601. */
  readonly created: string;
  /** 0 where only Python can tell. */
  readonly nTrainingSteps: number;
  /** Null where only Python can tell. */
  readonly nTrainingSamples: number | null;
  /** The configuration it was trained with; of SAELens in its words, and empty where it kept none. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Why a run that goes on from it is not the one that it would have been: SAELens keeps less. Empty for ours. */
  readonly inexact: readonly string[];
}

const stateSchema = z.object({
  n_training_steps: z.int().positive(),
  n_training_samples: z.int().positive(),
});
const configSchema = z.record(z.string(), z.unknown());

/**
 * Of ours, or of SAELens' trainer.
 *
 * @throws SaeLensError SAE_INVALID when it is damaged or holds no state of training
 */
export async function readResumePoint(folder: string): Promise<ResumePoint> {
  const path = resolve(folder);
  // A folder with our manifest is ours, whatever else somebody put there.
  if (!existsSync(join(path, MANIFEST_NAME))) {
    const folders = [path, ...(await readdir(path).catch(() => [])).map((name) => join(path, name))];
    const theirs = folders.map((one) => join(one, SAELENS_STATE_NAME)).find(existsSync);
    if (theirs !== undefined) return readSaeLensPoint(path, theirs);
  }
  const { created, files } = await verifyFolder(path);
  const missing = [TRAINING_STATE_NAME, TRAINING_TENSORS_NAME, RUNNER_CFG_NAME].filter((name) => !(name in files));
  if (missing.length > 0) {
    throw new SaeLensError('SAE_INVALID', `Cannot go on from "${path}": it holds no ${missing.join(', ')}`, {
      hint: 'the checkpoints of a run hold them; to begin with the weights alone, use --from_pretrained_path',
    });
  }
  try {
    const state = stateSchema.parse(await readJson(join(path, TRAINING_STATE_NAME)));
    const config = configSchema.parse(await readJson(join(path, RUNNER_CFG_NAME)));
    const { n_training_steps: nTrainingSteps, n_training_samples: nTrainingSamples } = state;
    return { path, created, nTrainingSteps, nTrainingSamples, config, inexact: [] };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Its state is a pickle, which the worker reads as plain values alone; the rest of it here. */
async function readSaeLensPoint(path: string, state: string): Promise<ResumePoint> {
  try {
    const runner = join(path, RUNNER_CFG_NAME);
    return {
      path,
      created: (await stat(state)).mtime.toISOString(),
      nTrainingSteps: 0,
      nTrainingSamples: Number(/\d+$/.exec(basename(path))?.[0] ?? Number.NaN) || null,
      config: existsSync(runner) ? configSchema.parse(await readJson(runner)) : {},
      inexact: NOT_IN_SAELENS,
    };
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): SaeLensError =>
  new SaeLensError('SAE_INVALID', `Cannot go on from "${path}": ${(error as Error).message}`, {
    hint: 'name a whole checkpoint: a folder with a manifest.json, or one of SAELens',
    cause: error,
  });

/** Those of a run in its folders, the newest first. One that is damaged or half written is told of and passed over (promise P1). */
export async function* resumePoints(
  folders: readonly string[],
  passedOver: (error: Error) => void,
): AsyncGenerator<ResumePoint, void, void> {
  const found: string[] = [];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => [] as string[]);
    found.push(...names.filter((name) => /^\d+$/.test(name)).map((name) => join(folder, name)));
  }
  for (const path of found.sort((a, b) => Number(basename(b)) - Number(basename(a)))) {
    const point = await readResumePoint(path).catch((error: Error) => passedOver(error));
    if (point !== undefined) yield point;
  }
}

const readJson = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'));
