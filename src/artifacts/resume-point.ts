import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { verifyFolder } from './manifest.ts';
import { RUNNER_CFG_NAME, TRAINING_STATE_NAME, TRAINING_TENSORS_NAME } from './sae-folder.ts';

/** A checkpoint that training can go on from; every byte of it was compared with its manifest. */
export interface ResumePoint {
  readonly path: string;
  /** When it was written, ISO 8601. */
  readonly created: string;
  readonly nTrainingSteps: number;
  readonly nTrainingSamples: number;
  /** The configuration it was trained with. */
  readonly config: Readonly<Record<string, unknown>>;
}

const stateSchema = z.object({
  n_training_steps: z.int().positive(),
  n_training_samples: z.int().positive(),
});
const configSchema = z.record(z.string(), z.unknown());

/** @throws SaeLensError SAE_INVALID when it is damaged or holds no state of training */
export async function readResumePoint(folder: string): Promise<ResumePoint> {
  const path = resolve(folder);
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
    return { path, created, nTrainingSteps, nTrainingSamples, config };
  } catch (error) {
    throw new SaeLensError('SAE_INVALID', `Cannot go on from "${path}": ${(error as Error).message}`, { cause: error });
  }
}

/** Those of a run, the newest first. One that is damaged or half written is told of and passed over (promise P1). */
export async function* resumePoints(
  checkpoints: string,
  passedOver: (error: Error) => void,
): AsyncGenerator<ResumePoint, void, void> {
  const names = await readdir(checkpoints).catch(() => [] as string[]);
  const newestFirst = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(b) - Number(a));
  for (const name of newestFirst) {
    const point = await readResumePoint(join(checkpoints, name)).catch((error: Error) => passedOver(error));
    if (point !== undefined) yield point;
  }
}

const readJson = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'));
