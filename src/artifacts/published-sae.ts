import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { type DownloadOptions, downloadSae } from './hub-download.ts';
import { Registry, type ReleasedSae } from './registry.ts';

/** How a published SAE is named where a path may stand too: `hub:user/repo/folder@revision`. */
export const HUB = 'hub:';

/** Where a reference leads. */
export interface LocatedSae {
  /** On this machine; a file where a file was named. */
  readonly path: string;
  /** What its release knows of it. */
  readonly released: ReleasedSae | null;
}

/** How a reference is followed. */
export interface LocateOptions extends DownloadOptions {
  /** A file of releases of one's own. */
  registry?: string | undefined;
}

/**
 * The SAE `id` of a release, fetched from the hub or its cache; a name that is no release is a repository, the id its
 * folder.
 *
 * @throws SaeLensError RELEASE_NOT_FOUND, SAE_INVALID for a format without a reader, and what `downloadSae` throws
 */
export async function fetchReleased(release: string, id: string, options: LocateOptions = {}): Promise<LocatedSae> {
  const registry = await Registry.read(options.registry);
  const released = registry.has(release) || !release.includes('/') ? registry.sae(release, id) : null;
  const path = await downloadSae(released?.repo ?? release, released?.path ?? id, options);
  return { path, released };
}

/**
 * Follows a reference to an SAE: a path, `hub:user/repo/folder@revision`, or `release/id`.
 *
 * @throws SaeLensError USAGE for what is none of them, and what {@link fetchReleased} throws
 */
export async function locateSae(reference: string, options: LocateOptions = {}): Promise<LocatedSae> {
  if (reference.startsWith(HUB)) {
    const [, repo = '', folder = '', revision] = /^hub:([^/]+\/[^/@]+)(?:\/([^@]*))?(?:@(.+))?$/.exec(reference) ?? [];
    if (repo === '') {
      throw new SaeLensError('USAGE', `Cannot follow ${JSON.stringify(reference)}: it names no repository`, {
        hint: 'write hub:user/repo/folder, with @revision behind it for another one than main',
      });
    }
    return { path: await downloadSae(repo, folder.replace(/\/$/, ''), { ...options, revision }), released: null };
  }
  if (existsSync(reference)) return { path: reference, released: null };
  const slash = reference.indexOf('/');
  const registry = await Registry.read(options.registry);
  const release = reference.slice(0, slash);
  if (slash > 0 && registry.has(release)) return fetchReleased(release, reference.slice(slash + 1), options);
  // Commands that are about runs alone take a run's name.
  const run = join('runs', reference);
  throw new SaeLensError('USAGE', `Cannot follow ${JSON.stringify(reference)}: there is no such file or folder`, {
    hint: existsSync(run)
      ? `did you mean ${run}?`
      : 'give a path, hub:user/repo/folder, or release/id of `sae-lens-ts pretrained`',
  });
}
