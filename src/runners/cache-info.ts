import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type CacheManifest, readCacheManifest } from '../artifacts/activation-cache.ts';
import { SaeLensError } from '../errors.ts';
import { counted, grouped, bytes as size } from '../format.ts';

/** What a cache holds, by its manifest or, where it has none, by what HF datasets knows of it. */
export interface CacheInfo {
  readonly path: string;
  readonly d_in: Readonly<Record<string, number>>;
  readonly dtype: string;
  /** Positions kept of each sequence. */
  readonly context: number;
  /** `bytes` is null for a file that is missing. */
  readonly files: readonly { file: string; bytes: number | null }[];
  readonly bytes: number;
  /** null for a cache that SAELens wrote. */
  readonly manifest: CacheManifest | null;
}

const Info = z.object({ features: z.record(z.string(), z.object({ _type: z.string() }).loose()) });
const Array2D = z.object({ _type: z.literal('Array2D'), shape: z.tuple([z.int(), z.int()]), dtype: z.string() });
const State = z.object({ _data_files: z.array(z.object({ filename: z.string().regex(/^[^/\\.][^/\\]*$/) })) });

/**
 * Looks at a cache without reading its numbers.
 *
 * @throws SaeLensError DATASET_NOT_FOUND, DATASET_INVALID, STORAGE
 */
export async function cacheInfo(folder: string): Promise<CacheInfo> {
  const path = resolve(folder);
  const [info, state] = [
    await readCacheJson(path, 'dataset_info.json', Info),
    await readCacheJson(path, 'state.json', State),
  ];
  const columns = Object.entries(info.features).flatMap(([hook, feature]) => {
    const column = Array2D.safeParse(feature);
    return column.success ? [{ hook, ...column.data }] : [];
  });
  const [first] = columns;
  if (first === undefined) throw notACache(path, 'no column holds activations');
  const files = await Promise.all(
    state._data_files.map(async ({ filename: file }) => {
      const found = await stat(join(path, file)).catch(() => null);
      return { file, bytes: found?.size ?? null };
    }),
  );
  const manifest = await readCacheManifest(path);
  return {
    path,
    d_in: Object.fromEntries(columns.map(({ hook, shape }) => [hook, shape[1]])),
    dtype: manifest?.dtype ?? first.dtype,
    context: first.shape[0],
    files,
    bytes: files.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    manifest,
  };
}

/** What a cache holds, for people. */
export function infoText(info: CacheInfo): string {
  const { manifest } = info;
  const missing = info.files.filter(({ bytes }) => bytes === null).map(({ file }) => file);
  const lines: [string, string][] = [
    ['path', info.path],
    ...Object.entries(info.d_in).map(([hook, width]): [string, string] => ['hook', `${hook} · d_in ${width}`]),
    ['context', `${info.context} positions of each sequence · ${info.dtype}`],
    ['disk', `${size(info.bytes)} in ${counted(info.files.length, 'file')}`],
    ...missing.map((file): [string, string] => ['missing', file]),
    ['model', manifest?.model_name ?? 'not recorded: no manifest.json, as in caches that SAELens writes'],
    ...(manifest === null ? [] : madeOf(manifest)),
  ];
  return lines.map(([title, text]) => ` ${title.padEnd(8)} ${text}`).join('\n');
}

function madeOf({ dataset_path, n_tokens, n_sequences, shuffle, seed }: CacheManifest): [string, string][] {
  const order = shuffle ? `shuffled by seed ${seed}` : 'in the order of the dataset';
  return [['data', `${dataset_path} · ${grouped(n_tokens)} tokens in ${grouped(n_sequences)} sequences · ${order}`]];
}

/**
 * A JSON file of a cache.
 *
 * @throws SaeLensError DATASET_NOT_FOUND, DATASET_INVALID
 */
export async function readCacheJson<S extends z.ZodType>(
  folder: string,
  name: string,
  schema: S,
): Promise<z.output<S>> {
  try {
    return schema.parse(JSON.parse(await readFile(join(folder, name), 'utf8')));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw notACache(folder, `${name}: ${message}`);
    throw new SaeLensError('DATASET_NOT_FOUND', `There is no cache of activations at "${folder}": no ${name}`, {
      hint: 'check the path, or write one with `sae-lens-ts cache-activations`',
    });
  }
}

function notACache(folder: string, reason: string): SaeLensError {
  return new SaeLensError('DATASET_INVALID', `"${folder}" holds no cache of activations: ${reason}`, {
    hint: 'a cache is what `sae-lens-ts cache-activations` or SAELens writes',
  });
}
