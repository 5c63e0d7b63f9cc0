import { existsSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isMap, parseDocument } from 'yaml';
import { SaeLensError } from '../errors.ts';
import { redact } from '../log.ts';
import { withoutMachinePaths } from './machine-paths.ts';
import { MANIFEST_NAME } from './manifest.ts';
import { CFG_NAME, RUNNER_CFG_NAME, readSaeFolder, SAE_FILES, saesIn, WEIGHTS_NAME } from './sae-folder.ts';
import { FORMAT_FILES, recogniseFormat } from './sae-format.ts';

/** Beside the weights, they make a folder a checkpoint of SAELens' training: not folded, not for use. */
const TRAINING_FILES = ['trainer_state.pt', 'activation_scaler.json', 'activation_whitening.safetensors'];
/** What SAELens loads as it stands, when version 6 wrote it (pyworker/runners/saes.py: SHAREABLE). */
const INFERENCE = new Set(['standard', 'gated', 'jumprelu', 'topk']);
/** The last values of all metrics are in so many bytes at the end of the file. */
const TAIL_BYTES = 256 << 10;

/** An SAE on this machine that somebody wants to share. */
export interface LocalSae {
  readonly folder: string;
  /** Last values of the run's metrics; empty without a run. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * The SAE that a path means: of an SAE folder itself, of a run folder its finished one.
 *
 * @throws SaeLensError SAE_INVALID
 */
export async function localSae(path: string): Promise<LocalSae> {
  const names = await readdir(path).catch((error: Error) => {
    throw noSae(path, error.message);
  });
  if (!names.includes('run.json')) {
    const isOutput = (folder: string) => basename(folder) === 'output' && existsSync(join(dirname(folder), 'run.json'));
    if (isOutput(path)) return { folder: path, metrics: await lastMetrics(dirname(path)) };
    const output = dirname(path);
    return { folder: path, metrics: isOutput(output) ? await lastMetrics(dirname(output), basename(path)) : {} };
  }
  const folder = (await outputPathOf(path)) ?? join(path, 'output');
  if (!existsSync(folder)) {
    throw noSae(
      path,
      `the run has no finished SAE in "${folder}"`,
      `give one of its checkpoints: ${join(path, 'checkpoints')}`,
    );
  }
  return { folder, metrics: await lastMetrics(path) };
}

/**
 * The SAEs that a path means, by the names that a run of several gave them; one under null where it means one. What
 * only happens to lie in a folder, without the manifest of a run, leaves this machine by its own path alone.
 */
export async function localSaes(path: string): Promise<Map<string | null, string>> {
  const { folder } = await localSae(path);
  const names = (await saesIn(folder)).filter((name) => existsSync(join(folder, name, MANIFEST_NAME)));
  if (names.length === 0 || existsSync(join(folder, CFG_NAME))) return new Map([[null, path]]);
  return new Map(names.map((name) => [name, join(folder, name)]));
}

/** Whether SAELens loads the folder as it stands; else it has to be brought into inference form first. */
export async function isShareable(folder: string): Promise<boolean> {
  const has = (name: string): boolean => existsSync(join(folder, name));
  const { format, missing } = recogniseFormat(FORMAT_FILES.filter(has));
  if (missing.length > 0) throw noSae(folder, `it has no ${missing.join(' and no ')}`);
  if (format !== 'sae_lens' || TRAINING_FILES.some(has)) return false;
  const { vocabulary, architecture } = await readSaeFolder(folder);
  return vocabulary === 'v6' && INFERENCE.has(architecture);
}

/** A file of an SAE as it leaves this machine. */
export interface SharedFile {
  readonly name: (typeof SAE_FILES)[number];
  readonly content: { readonly file: string } | Buffer;
  readonly bytes: number;
}

/** The files of an SAE and what its two texts say. */
export interface SharedSae {
  readonly files: readonly SharedFile[];
  readonly cfg: Record<string, unknown>;
  readonly runner: Record<string, unknown> | null;
}

/** The files of an inference-ready folder; secrets and the paths of this machine are taken out of its texts. */
export async function sharedSae(folder: string, runnerFolder: string = folder): Promise<SharedSae> {
  const texts = new Map<string, Record<string, unknown>>();
  const files: SharedFile[] = [];
  for (const name of SAE_FILES) {
    const file = join(name === RUNNER_CFG_NAME ? runnerFolder : folder, name);
    const bytes = await stat(file).then(
      ({ size }) => size,
      () => null,
    );
    if (bytes === null) continue;
    if (name !== CFG_NAME && name !== RUNNER_CFG_NAME) {
      files.push({ name, content: { file }, bytes });
      continue;
    }
    const text = await readFile(file, 'utf8');
    const clean = cleanJson(text);
    // Only runner_cfg.json may be no JSON: the other has been read by now. It is a note, and is left out.
    if (clean === null) continue;
    texts.set(name, clean.value);
    const content = Buffer.from(clean.text);
    files.push({ name, content, bytes: content.length });
  }
  return { files, cfg: texts.get(CFG_NAME) ?? {}, runner: texts.get(RUNNER_CFG_NAME) ?? null };
}

/** As it stands where there is nothing to take out. */
function cleanJson(text: string): { value: Record<string, unknown>; text: string } | null {
  try {
    const value = JSON.parse(redact(text)) as Record<string, unknown>;
    const clean = withoutMachinePaths(value) as Record<string, unknown>;
    const isSame = JSON.stringify(clean) === JSON.stringify(JSON.parse(text));
    return { value: clean, text: isSame ? text : `${JSON.stringify(clean, null, text.includes('\n ') ? 2 : 0)}\n` };
  } catch {
    return null;
  }
}

/** Where the run was told to save; null where it was told nothing. */
async function outputPathOf(run: string): Promise<string | null> {
  const text = await readFile(join(run, 'config.yaml'), 'utf8').catch(() => '');
  const { contents, errors } = parseDocument(text);
  const [error] = errors;
  if (error !== undefined) {
    const [line = ''] = error.message.split('\n', 1);
    throw noSae(run, `its config.yaml is damaged: ${line}`, 'give the folder of the SAE itself');
  }
  const place = isMap(contents) ? contents.get('output_path') : null;
  return typeof place === 'string' ? resolve(place) : null;
}

/** The last value of every metric that the end of the run's metrics.jsonl has; of several SAEs those of one. */
async function lastMetrics(run: string, sae?: string): Promise<Record<string, number>> {
  const file = await open(join(run, 'metrics.jsonl')).catch(() => null);
  if (file === null) return {};
  try {
    const { size } = await file.stat();
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
    await file.read(tail, 0, tail.length, size - tail.length);
    const last: Record<string, number> = {};
    for (const line of tail.toString('utf8').split('\n')) {
      try {
        const { sae: of, ...row } = JSON.parse(line) as Record<string, number> & { sae?: unknown };
        if (of !== sae) continue;
        for (const [key, value] of Object.entries(row)) if (typeof value === 'number') last[key] = value;
      } catch {
        // The first line is cut, the last one empty.
      }
    }
    return last;
  } finally {
    await file.close();
  }
}

function noSae(path: string, reason: string, hint?: string): SaeLensError {
  return new SaeLensError('SAE_INVALID', `Cannot share "${path}": ${reason}`, {
    hint: hint ?? `give a run folder, or one that holds an SAE: ${CFG_NAME} and ${WEIGHTS_NAME}`,
  });
}
