import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { SaeLensError } from '../errors.ts';
import { CACHE_CONFIG_NAME, type CacheManifest, isComplete, readCacheManifest } from './activation-cache.ts';

/** Options that change where a cache goes, and nothing of what it holds. */
const PLACES = new Set(['new_cached_activations_path', 'hf_repo_id', 'hf_revision', 'hf_is_private_repo']);
/** What lies in a folder that was begun and has no manifest yet. */
const BEGINNINGS = /^(tokens\.bin|cache_activations_runner_cfg\.json|manifest\.json)(\.tmp)?$/;

/** What is in the place of a cache: nothing, some of its shards, or all of it. */
export type CacheProgress =
  | { readonly state: 'new' }
  | { readonly state: 'begun' | 'done'; readonly manifest: CacheManifest };

/** Where a cache lies while it is made (pyworker/runners/cache_activations.py). */
export const stagingFolder = (path: string): string => join(dirname(path), `${basename(path)}.partial`);

/**
 * Looks at the place of a cache before anything is started. Nothing is ever deleted to make room.
 *
 * @param options of the cache that is to be there
 * @throws SaeLensError STORAGE when something else is there, or a cache of other options, which are named
 */
export async function cacheProgress(path: string, options: Record<string, unknown>): Promise<CacheProgress> {
  const there = await namesIn(path);
  if (there.length > 0) {
    const manifest = there.includes(CACHE_CONFIG_NAME) ? await readCacheManifest(path) : null;
    if (manifest === null || !isComplete(manifest)) throw foreign(path, there);
    await requireSameOptions(path, options, 'choose another new_cached_activations_path');
    return { state: 'done', manifest };
  }
  const staging = stagingFolder(path);
  const begun = await namesIn(staging);
  const manifest = begun.includes(CACHE_CONFIG_NAME) ? await readCacheManifest(staging) : null;
  if (manifest !== null) {
    const hint = `use the same options, choose another new_cached_activations_path, or remove "${staging}"`;
    await requireSameOptions(staging, options, hint);
    return { state: 'begun', manifest };
  }
  if (begun.some((name) => !BEGINNINGS.test(name))) throw foreign(staging, begun);
  return { state: 'new' };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    const reason = code === 'ENOTDIR' ? 'it is a file, or lies below one' : message;
    throw new SaeLensError('STORAGE', `Cannot write a cache to "${folder}": ${reason}`, {
      hint: 'choose another new_cached_activations_path',
      cause: error,
    });
  }
}

async function requireSameOptions(folder: string, options: Record<string, unknown>, hint: string): Promise<void> {
  const made: Record<string, unknown> = JSON.parse(await readFile(join(folder, CACHE_CONFIG_NAME), 'utf8'));
  const keys = [...new Set([...Object.keys(made), ...Object.keys(options)])].filter((key) => !PLACES.has(key));
  const different = keys.filter((key) => !isDeepStrictEqual(made[key], options[key]));
  if (different.length === 0) return;
  const text = (value: unknown): string => JSON.stringify(value ?? null);
  const shown = different.map((key) => `${key} was ${text(made[key])} and is ${text(options[key])}`);
  throw new SaeLensError('STORAGE', `The cache in "${folder}" was made with other options: ${shown.join('; ')}`, {
    hint,
    details: { folder, different },
  });
}

function foreign(folder: string, names: readonly string[]): SaeLensError {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  const seen = names.slice(0, 3).join(', ');
  return new SaeLensError(
    'STORAGE',
    `Cannot write a cache to "${folder}": ${seen}${more} is there, which is no cache of ours`,
    { hint: 'choose a folder that is new or empty: new_cached_activations_path', details: { folder } },
  );
}
