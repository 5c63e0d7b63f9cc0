import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { MANIFEST_NAME, verifyFolder } from './manifest.ts';
import { FORMAT_FILES, recogniseFormat, type SaeFormat } from './sae-format.ts';
import { readSafetensorsHeader, type TensorInfo } from './safetensors.ts';

export const CFG_NAME = 'cfg.json';
export const WEIGHTS_NAME = 'sae_weights.safetensors';
export const SPARSITY_NAME = 'sparsity.safetensors';
export const RUNNER_CFG_NAME = 'runner_cfg.json';
/** The files of an SAE folder that are data for us; nothing else is ever fetched or read (promise P4). */
export const SAE_FILES = [CFG_NAME, WEIGHTS_NAME, SPARSITY_NAME, RUNNER_CFG_NAME] as const;
/** Beside the SAE in checkpoints of a run that was asked for them. */
export const OPTIMIZER_NAME = 'optimizer_state.safetensors';
export const ACTIVATIONS_NAME = 'activations_store.safetensors';
/** Beside the SAE in every checkpoint that a run can go on from (pyworker/train/training_state.py). */
export const TRAINING_STATE_NAME = 'training_state.json';
export const TRAINING_TENSORS_NAME = 'training_state.safetensors';
export const STATE_FILES = [OPTIMIZER_NAME, ACTIVATIONS_NAME, TRAINING_STATE_NAME, TRAINING_TENSORS_NAME] as const;

const isState = (name: string): boolean => STATE_FILES.some((file) => file === name);

/** cfg.json is one line of a few KB. */
const LARGEST_CFG_BYTES = 1 << 20;

export interface SaeFolder {
  path: string;
  /** cfg.json as it stands. */
  cfg: Record<string, unknown>;
  /** Which SAELens wrote it: 6.x keeps facts about the training under `metadata`, 5.x has them flat. */
  vocabulary: 'v5' | 'v6';
  architecture: string;
  d_in: number;
  d_sae: number;
}

type Axis = 'd_in' | 'd_sae';
const BASE: Record<string, Axis[]> = {
  W_enc: ['d_in', 'd_sae'],
  W_dec: ['d_sae', 'd_in'],
  b_enc: ['d_sae'],
  b_dec: ['d_in'],
};
const { b_enc: _, ...WITHOUT_ENCODER_BIAS } = BASE;

/** Shapes of what is stored for each architecture (reference/saelens.md §4.1). */
const TENSORS: Record<string, Record<string, Axis[]>> = {
  standard: BASE,
  topk: BASE,
  gated: { ...WITHOUT_ENCODER_BIAS, b_gate: ['d_sae'], b_mag: ['d_sae'], r_mag: ['d_sae'] },
  jumprelu: { ...BASE, threshold: ['d_sae'] },
  // Checkpoints only: for use the worker makes a JumpReLU SAE of them.
  batchtopk: { ...BASE, topk_threshold: [] },
  matryoshka_batchtopk: { ...BASE, topk_threshold: [] },
};
/** v5 stored these too: a factor of the fine-tuning, and JumpReLU's threshold as its logarithm while training. */
const ALSO_IN_V5 = new Set(['scaling_factor', 'finetuning_scaling_factor', 'log_threshold']);

/**
 * Reads the folder of an SAE without its weights: cfg.json of SAELens 5 or 6 and the header of the weights, checked
 * against each other. The worker loads the numbers. The SAE of a folder with a manifest, ours, is checked byte by byte.
 *
 * @throws SaeLensError SAE_INVALID
 */
export async function readSaeFolder(path: string): Promise<SaeFolder> {
  const refuse = (reason: string, cause?: unknown): SaeLensError =>
    new SaeLensError('SAE_INVALID', `Cannot read an SAE from "${path}": ${reason}`, {
      cause,
      hint: `an SAE folder holds ${CFG_NAME} and ${WEIGHTS_NAME}`,
    });
  await refuseSeveral(path);
  // The state of training beside it is large, and nobody reads it here.
  if (existsSync(join(path, MANIFEST_NAME))) await verifyFolder(path, (name) => !isState(name));
  const cfg = await readCfg(join(path, CFG_NAME), refuse);
  const vocabulary = vocabularyOf(cfg);
  const architecture = architectureOf(cfg);
  if (architecture === null) throw refuse(`${CFG_NAME} names no architecture`);
  const { d_in, d_sae } = cfg;
  if (!isSize(d_in) || !isSize(d_sae)) {
    throw refuse(`${CFG_NAME} has d_in ${JSON.stringify(d_in)} and d_sae ${JSON.stringify(d_sae)}`);
  }
  const tensors = await readSafetensorsHeader(join(path, WEIGHTS_NAME));
  const expected = TENSORS[architecture];
  if (expected !== undefined) {
    const problem = shapeProblem(tensors, expected, { d_in, d_sae }, vocabulary);
    if (problem !== null) throw refuse(`${problem} (architecture ${architecture}, d_in ${d_in}, d_sae ${d_sae})`);
  }
  return {
    path,
    cfg,
    vocabulary,
    architecture,
    d_in,
    d_sae,
  };
}

/**
 * The format of the SAE in a folder, checked as far as that goes without its weights: one of SAELens as `readSaeFolder`
 * does, one of another library by its files and the header of its safetensors. The worker reads the rest.
 *
 * @throws SaeLensError SAE_INVALID
 */
export async function checkSaeFolder(path: string): Promise<SaeFormat> {
  await refuseSeveral(path);
  const there = FORMAT_FILES.filter((name) => existsSync(join(path, name)));
  const { format, files, missing } = recogniseFormat(there);
  if (format === 'sae_lens') {
    await readSaeFolder(path);
  } else if (missing.length > 0) {
    throw new SaeLensError('SAE_INVALID', `Cannot read an SAE from "${path}": ${missing.join(', ')} is missing`, {
      hint: `beside ${files.join(', ')} it needs that`,
    });
  }
  for (const file of files) if (file.endsWith('.safetensors')) await readSafetensorsHeader(join(path, file));
  return format;
}

/** Names of the folders of SAEs in a folder, in order; none for what is no folder. */
export async function saesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory() && isSae(await readdir(join(folder, entry.name)))) names.push(entry.name);
  }
  return names.sort();
}

/** Whether these are the names of the files of an SAE of ours or of SAELens. */
export const isSae = (names: readonly string[]): boolean => names.includes(CFG_NAME) && names.includes(WEIGHTS_NAME);

/** A folder of several SAEs is none. */
async function refuseSeveral(path: string): Promise<void> {
  if (existsSync(join(path, CFG_NAME))) return;
  const names = await saesIn(path);
  if (names.length === 0) return;
  throw new SaeLensError('SAE_INVALID', `Cannot read an SAE from "${path}": it holds several, ${names.join(', ')}`, {
    hint: `name one: ${join(path, names[0] as string)}`,
  });
}

async function readCfg(
  path: string,
  refuse: (reason: string, cause?: unknown) => SaeLensError,
): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    const { size } = await stat(path);
    if (size > LARGEST_CFG_BYTES) throw new Error(`it has ${size} bytes, at most ${LARGEST_CFG_BYTES} are read`);
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw refuse(`${CFG_NAME}: ${(error as Error).message}`, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(`${CFG_NAME} is not an object`);
  return value as Record<string, unknown>;
}

function vocabularyOf(cfg: Record<string, unknown>): 'v5' | 'v6' {
  const metadata = cfg.metadata as Record<string, unknown> | undefined;
  const version = metadata?.sae_lens_version ?? cfg.sae_lens_version;
  return typeof version === 'string' && Number.parseInt(version, 10) >= 6 ? 'v6' : 'v5';
}

/** v5 called a top-k SAE "standard" with the activation "topk", and very old folders name no architecture at all. */
function architectureOf(cfg: Record<string, unknown>): string | null {
  const named = cfg.architecture;
  const activation = cfg.activation_fn_str ?? cfg.activation_fn;
  if ((named === undefined || named === 'standard') && activation === 'topk') return 'topk';
  if (typeof named === 'string') return named;
  return activation === undefined ? null : 'standard';
}

function shapeProblem(
  tensors: Map<string, TensorInfo>,
  expected: Record<string, Axis[]>,
  sizes: Record<Axis, number>,
  vocabulary: 'v5' | 'v6',
): string | null {
  for (const [name, axes] of Object.entries(expected)) {
    const found =
      tensors.get(name) ?? (name === 'threshold' && vocabulary === 'v5' ? tensors.get('log_threshold') : undefined);
    if (found === undefined) return `tensor ${name} is missing`;
    const shape = axes.map((axis) => sizes[axis]);
    if (found.shape.join() !== shape.join()) return `tensor ${name} has shape [${found.shape}] instead of [${shape}]`;
  }
  const extra = [...tensors.keys()].filter(
    (name) => !(name in expected) && !(vocabulary === 'v5' && ALSO_IN_V5.has(name)),
  );
  return extra.length === 0 ? null : `it holds tensors that do not belong there: ${extra.join(', ')}`;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
