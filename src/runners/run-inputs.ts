import { listingHash } from '../artifacts/listing-hash.ts';
import { type RunPaths, readRunRecord } from '../artifacts/run-folder.ts';
import type { ResolvedConfig } from '../config/index.ts';
import { refused } from './resume.ts';

/** Of what the run reads, where that lies on this machine. */
export async function inputHashes(
  inputs: Pick<ResolvedConfig, 'model_name' | 'dataset_path' | 'cached_activations_path'>,
): Promise<Record<string, string>> {
  const cache = inputs.cached_activations_path;
  const hashes = {
    model_listing: await listingHash(inputs.model_name),
    dataset_listing: inputs.dataset_path === '' ? null : await listingHash(inputs.dataset_path),
    cache_listing: cache === null ? null : await listingHash(cache),
  };
  return Object.fromEntries(Object.entries(hashes).filter((entry): entry is [string, string] => entry[1] !== null));
}

/**
 * What the run reads must be what it read.
 *
 * @param hashes of the files now
 * @throws SaeLensError RESUME_REFUSED
 */
export async function requireSameInputs(paths: RunPaths, hashes: Readonly<Record<string, string>>): Promise<void> {
  const { hashes: then } = await readRunRecord(paths);
  const changed = Object.keys(hashes).filter((name) => name in then && then[name] !== hashes[name]);
  if (changed.length === 0) return;
  const names = changed.map((name) => name.replace('_listing', '')).join(' and ');
  throw refused(paths.folder, `the files of its ${names} are others`, 'bring them back, or begin a new run');
}
