import { resolve } from 'node:path';
import { z } from 'zod';
import {
  CACHE_CONFIG_NAME,
  type CacheManifest,
  type DamagedShard,
  damagedShards,
  requireCacheManifest,
} from '../artifacts/activation-cache.ts';
import { damagedDatasetFiles, unknownFiles } from '../artifacts/activation-cache-files.ts';
import { lockPlace } from '../artifacts/run-lock.ts';
import { CacheActivationsRunnerConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';
import { type CacheEvent, cacheEvent } from './cache-events.ts';
import { readCacheJson } from './cache-info.ts';

/** A cache that is what was written. */
export interface VerifiedCache {
  readonly manifest: CacheManifest;
  /** Files that lie beside it and are none of its own. */
  readonly unknown: readonly string[];
}

/**
 * Compares every byte of a cache with its manifest, and what makes the folder a dataset with what it would be.
 *
 * @throws SaeLensError STORAGE naming the files that are damaged; DATASET_NOT_FOUND, DATASET_INVALID
 */
export async function verifyCache(folder: string, onProgress?: (bytes: number) => void): Promise<VerifiedCache> {
  const path = resolve(folder);
  const manifest = await requireCacheManifest(path);
  const damaged = [
    ...(await damagedDatasetFiles(path, manifest)),
    ...(await damagedShards(path, manifest, onProgress)),
  ];
  if (damaged.length > 0) throw damagedError(path, damaged);
  return { manifest, unknown: await unknownFiles(path, manifest) };
}

/**
 * Computes the damaged shards of a cache again, and only those. Each is put in its place only when it has the bytes it
 * had, which takes the same model, dataset, torch and machine kind.
 *
 * @returns the files that were repaired
 * @throws SaeLensError STORAGE when a shard comes out otherwise; what loading and reading can fail with
 */
export async function repairCache(folder: string, onEvent?: (event: CacheEvent) => void): Promise<string[]> {
  const path = resolve(folder);
  const manifest = await requireCacheManifest(path);
  const lock = await lockPlace(path, `${path}.lock.json`, 'repair the cache in');
  try {
    const damaged = [...(await damagedDatasetFiles(path, manifest)), ...(await damagedShards(path, manifest))];
    const files = damaged.map(({ file }) => file);
    if (files.length === 0) return [];
    if (files.includes(CACHE_CONFIG_NAME)) throw damagedError(path, damaged);
    const made = new CacheActivationsRunnerConfig(await readCacheJson(path, CACHE_CONFIG_NAME, z.any()));
    const { python } = await requireEnvironment();
    const located = await resolveBundled(made, { python });
    await using worker = await Worker.start({ python });
    const params = { config: { ...located, new_cached_activations_path: path }, files };
    await worker.request('repair_activation_cache', params, { onEvent: (event) => onEvent?.(cacheEvent(event)) })
      .result;
    return files;
  } finally {
    await lock.release();
  }
}

/** What is said of damaged files, with the command that repairs them. */
export function damagedError(folder: string, damaged: readonly DamagedShard[]): SaeLensError {
  const shown = damaged.map(({ file, reason }) => `${file}: ${reason}`).join('; ');
  const withoutOptions = damaged.some(({ file }) => file === CACHE_CONFIG_NAME);
  return new SaeLensError('STORAGE', `The cache "${folder}" is damaged: ${shown}`, {
    hint: withoutOptions
      ? `copy ${CACHE_CONFIG_NAME} again: without the options nothing can be computed`
      : `\`sae-lens-ts cache repair ${folder}\` makes ${damaged.length === 1 ? 'that file' : 'those'} again`,
    details: { path: folder, damaged },
  });
}
