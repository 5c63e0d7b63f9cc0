import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Recorded vectors and fixtures, which only machines that build this project have. */
export const SHARED = resolve(process.env.SAE_LENS_TS_SHARED ?? '../shared');

/** Whether real models and texts are there; tests that need them are skipped, visibly, where they are not. */
export const hasFixtures = existsSync(`${SHARED}/fixtures/models/stories260K/model.safetensors`);

/** Flags for the real language model of the fixtures and the text it was trained on. */
export const STORIES = [
  ['--model_name', `${SHARED}/fixtures/models/stories260K`],
  ['--dataset_path', `${SHARED}/fixtures/datasets/tinystories`],
  ['--streaming', 'false'],
  ['--device', 'cpu'],
  ['--log_to_wandb', 'false'],
].flat();
