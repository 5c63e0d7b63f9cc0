import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { pythonForTests } from './python-for-tests.ts';

const SCRIPT = 'test/docker/tiny_model.py';

/** Folder of a language model (`model/`) and a text (`text.jsonl`), made once for all test files; nobody writes there. */
export function tinyModel(): string {
  const key = createHash('sha256').update(readFileSync(SCRIPT)).update(pythonForTests()).digest('hex').slice(0, 12);
  const folder = resolve('node_modules/.cache', `tiny-model-${key}`);
  if (existsSync(folder)) return folder;
  const staging = `${folder}.${process.pid}`;
  execFileSync(pythonForTests(), [SCRIPT, staging], { stdio: 'pipe' });
  try {
    renameSync(staging, folder);
  } catch {
    // Another test file was quicker.
    rmSync(staging, { recursive: true });
  }
  return folder;
}

/** Flags of a run that trains ten steps in no time; later flags win. */
export function tinyRun(...flags: string[]): string[] {
  const folder = tinyModel();
  const values = {
    model_name: `${folder}/model`,
    model_class_name: 'AutoModelForCausalLM',
    hook_name: 'model.layers.0',
    dataset_path: `${folder}/text.jsonl`,
    streaming: 'false',
    d_sae: '64',
    context_size: '32',
    store_batch_size_prompts: '4',
    n_batches_in_buffer: '4',
    train_batch_size_tokens: '128',
    training_tokens: '1280',
    n_eval_batches: '1',
    eval_batch_size_prompts: '2',
    device: 'cpu',
    log_to_wandb: 'false',
    ...(flags.includes('--architecture') ? {} : { architecture: 'topk', k: '4' }),
  };
  return ['train', ...Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]), ...flags];
}

/** As `tinyRun`, but it goes on for hours: a test ends it. */
export const endlessRun = (...flags: string[]): string[] => tinyRun('--training_tokens', '1e9', ...flags);
