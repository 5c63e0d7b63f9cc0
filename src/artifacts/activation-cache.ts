import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { MANIFEST_NAME } from './manifest.ts';

/** The options a cache was made with, beside its data; SAELens' name for it. */
export const CACHE_CONFIG_NAME = 'cache_activations_runner_cfg.json';
const FORMAT = 'sae-lens-ts activation cache';
const VERSION = 1;

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** A name is never a way out of the folder (promise P4). */
const fileName = z.string().regex(/^[^/\\.][^/\\]*$/);

// Twin of pyworker/data/activation_cache_manifest.py, which writes it.
const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  model_name: z.string(),
  model_revision: z.string().nullable(),
  hook_names: z.array(z.string()).min(1),
  d_in: z.record(z.string(), count),
  dtype: z.enum(['float32', 'bfloat16', 'float16']),
  context_size: count,
  seqpos_slice: z.array(z.int().nullable()),
  tokenizer_sha256: sha256.nullable(),
  dataset_path: z.string(),
  dataset_revision: z.string().nullable(),
  seed: z.int(),
  shuffle: z.boolean(),
  n_sequences: count,
  n_tokens: count,
  tokens_sha256: sha256,
  prepend_bos: z.boolean(),
  sequence_separator_token: z.union([z.int(), z.string()]).nullable(),
  disable_concat_sequences: z.boolean(),
  shards: z.array(z.strictObject({ file: fileName, rows: count, bytes: count, sha256 })),
});

/** What a cache of activations holds; while it is made, `shards` are those that are finished. */
export type CacheManifest = z.output<typeof manifestSchema>;
/** A file of a cache that is not what was written. */
export interface DamagedShard {
  readonly file: string;
  readonly reason: string;
}

/** Whether every sequence is in a finished shard. */
export const isComplete = ({ shards, n_sequences }: CacheManifest): boolean =>
  shards.reduce((rows, shard) => rows + shard.rows, 0) === n_sequences;

/**
 * The manifest of a cache; null where there is none, as in a cache that SAELens wrote.
 *
 * @throws SaeLensError STORAGE when it is there and is no manifest of a cache
 */
export async function readCacheManifest(folder: string): Promise<CacheManifest | null> {
  const path = join(folder, MANIFEST_NAME);
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    const version = (value as { version?: unknown } | null)?.version;
    if (typeof version === 'number' && version > VERSION) {
      throw new SaeLensError(
        'STORAGE',
        `The cache "${folder}" has format version ${version}, newer than this program`,
        {
          hint: 'update sae-lens-ts: npm install sae-lens-ts@latest',
        },
      );
    }
    return manifestSchema.parse(value);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (error instanceof SaeLensError) throw error;
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new SaeLensError('STORAGE', `"${path}" is no manifest of a cache of activations: ${reason}`, {
      hint: 'copy the cache again, or make it anew in another folder',
      cause: error,
    });
  }
}

/**
 * The manifest of a finished cache of ours.
 *
 * @throws SaeLensError DATASET_NOT_FOUND, DATASET_INVALID without a manifest, STORAGE when it is damaged
 */
export async function requireCacheManifest(folder: string): Promise<CacheManifest> {
  const manifest = await readCacheManifest(folder);
  if (manifest !== null) return manifest;
  const isThere = await readFile(join(folder, 'dataset_info.json')).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    throw new SaeLensError('DATASET_NOT_FOUND', `There is no cache of activations at "${folder}"`, {
      hint: 'check the path, or write one with `sae-lens-ts cache-activations`',
    });
  }
  throw new SaeLensError('DATASET_INVALID', `"${folder}" has no ${MANIFEST_NAME}: nobody knows what its files were`, {
    hint: 'a cache that SAELens wrote can be trained from, but not verified or repaired',
  });
}

/**
 * Reads every byte of a cache and compares it with the manifest.
 *
 * @param onProgress called with the bytes read so far
 * @returns the shards that are not what was written
 */
export async function damagedShards(
  folder: string,
  manifest: CacheManifest,
  onProgress: (bytes: number) => void = () => {},
): Promise<DamagedShard[]> {
  const damaged: DamagedShard[] = [];
  let read = 0;
  for (const shard of manifest.shards) {
    const found = await digest(join(folder, shard.file), (bytes) => {
      read += bytes;
      onProgress(read);
    });
    if (found.error !== null) damaged.push({ file: shard.file, reason: found.error });
    else if (found.size !== shard.bytes) {
      damaged.push({ file: shard.file, reason: `${found.size} bytes instead of ${shard.bytes}` });
    } else if (found.sha256 !== shard.sha256) {
      damaged.push({ file: shard.file, reason: 'other content than was written (sha256)' });
    }
  }
  return damaged;
}

/** The shards that are gone, or of another size than was written: found without reading them. */
export async function shardsOfOtherSize(folder: string, { shards }: CacheManifest): Promise<DamagedShard[]> {
  const found = await Promise.all(
    shards.map(async ({ file, bytes }) => {
      const size = (await stat(join(folder, file)).catch(() => null))?.size ?? null;
      if (size === bytes) return [];
      return [{ file, reason: size === null ? 'it is missing' : `${size} bytes instead of ${bytes}` }];
    }),
  );
  return found.flat();
}

async function digest(path: string, onRead: (bytes: number) => void) {
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      size += chunk.length;
      onRead(chunk.length);
    }
    return { error: null, size, sha256: hash.digest('hex') };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { error: code === 'ENOENT' ? 'it is missing' : message, size, sha256: '' };
  }
}
