import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { CACHE_CONFIG_NAME, type CacheManifest } from '../artifacts/activation-cache.ts';
import { activationCacheCard } from '../artifacts/activation-cache-card.ts';
import { toJson } from '../artifacts/atomic.ts';
import { type PushDatasetOptions, pushDataset } from '../artifacts/hub-dataset.ts';
import type { PushResult } from '../artifacts/hub-upload.ts';
import { withoutMachinePaths } from '../artifacts/machine-paths.ts';
import { MANIFEST_NAME } from '../artifacts/manifest.ts';
import { CARD_NAME } from '../artifacts/model-card.ts';
import { runnerOptions } from '../config/keys.ts';
import { shellWord } from './shell-word.ts';

/** Where the card tells people to put the files. */
const DOWNLOADED = 'activations';
/** What training takes by itself unless a cache was made otherwise. */
const TOLD_WHERE_OTHER = [
  'seqpos_slice',
  'prepend_bos',
  'sequence_separator_token',
  'disable_concat_sequences',
] as const;

/**
 * Brings a finished cache to the hub. Of a model, a dataset and a folder on this machine only the last name is told
 * there; the files here stay as they are, as going on and repairing are held to them.
 *
 * @throws SaeLensError HUB…, DATASET_INVALID, INTERRUPTED
 */
export async function pushCache(
  folder: string,
  manifest: CacheManifest,
  options: Omit<PushDatasetOptions, 'texts'>,
): Promise<PushResult> {
  return pushDataset(folder, { ...options, texts: await publishedTexts(folder, manifest, options.repo) });
}

async function publishedTexts(folder: string, manifest: CacheManifest, repo: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const name of [CACHE_CONFIG_NAME, MANIFEST_NAME]) {
    const said: unknown = JSON.parse(await readFile(join(folder, name), 'utf8'));
    texts.set(name, toJson(withoutMachinePaths(said)));
  }
  if (!existsSync(join(folder, CARD_NAME))) {
    const told = withoutMachinePaths(manifest) as CacheManifest;
    const use = { repo, folder: DOWNLOADED, command: trainCommand(told) };
    texts.set(CARD_NAME, activationCacheCard(told, use));
  }
  return texts;
}

/** With every option that has to be that of the cache. */
function trainCommand(manifest: CacheManifest): string {
  const { hook_names, d_in, model_name, dtype, context_size } = manifest;
  const hook_name = hook_names[0] ?? '';
  const options: Record<string, unknown> = {
    use_cached_activations: true,
    cached_activations_path: DOWNLOADED,
    model_name,
    hook_name,
    d_in: d_in[hook_name],
    dtype,
    context_size,
  };
  for (const key of TOLD_WHERE_OTHER) {
    if (!isDeepStrictEqual(manifest[key], runnerOptions[key]?.parse(undefined))) options[key] = manifest[key];
  }
  const flags = Object.entries(options).map(([key, value]) => `--${key} ${shellWord(flagText(value))}`);
  return ['sae-lens-ts train', ...flags].join(' \\\n  ');
}

const flagText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
