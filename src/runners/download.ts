import { existsSync } from 'node:fs';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { stagingSuffix } from '../artifacts/checkpoints.ts';
import { listSaes, type PublishedSae } from '../artifacts/hub-download.ts';
import { fetchReleased } from '../artifacts/published-sae.ts';
import { replaceFolder } from '../artifacts/replace-folder.ts';
import { FORMAT_FILES, recogniseFormat } from '../artifacts/sae-format.ts';
import type { Logger } from '../log.ts';
import { callOptions, someLogger } from '../sae/call-options.ts';

/** From where, and where to. */
export interface DownloadSaeOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string | undefined;
  /** A folder for the SAE; default: it stays in the Hugging Face cache, which Python uses too. */
  to?: string | undefined;
  /** A file of releases of your own, beside the well-known ones. */
  registry?: string | undefined;
  /** Default: HF_TOKEN, or the token of `hf auth login`. */
  token?: string | undefined;
  /** Where it says what it fetches and why it waits; default: nowhere. */
  log?: Logger | undefined;
  /** Ends it in order. */
  signal?: AbortSignal | undefined;
}

const Options = z.strictObject({
  revision: z.string().min(1).optional(),
  to: z.string().min(1).optional(),
  registry: z.string().min(1).optional(),
  token: z.string().optional(),
  log: someLogger.optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Fetches a published SAE, from the cache when the hub is not to be asked (HF_HUB_OFFLINE) or not to be reached.
 *
 * @param release a release's name, or a repository, `user/repo`
 * @param saeId its name in the release, or its folder in the repository ("" is the root)
 * @returns the folder it lies in, for `SAE.loadFromDisk`
 * @throws SaeLensError a code of its own for each way the hub refuses (HUB…), PICKLE_REFUSED, STORAGE, USAGE
 */
export async function downloadSaeFromHuggingface(
  release: string,
  saeId: string,
  options: DownloadSaeOptions = {},
): Promise<string> {
  const { to, ...given } = callOptions('download an SAE', Options, options);
  const { path } = await fetchReleased(release, saeId, given);
  if (to === undefined) return path;
  const final = resolve(to);
  const staging = `${final}.${stagingSuffix()}`;
  try {
    for (const file of recogniseFormat(FORMAT_FILES.filter((name) => existsSync(join(path, name)))).files) {
      await mkdir(dirname(join(staging, file)), { recursive: true });
      await copyFile(join(path, file), join(staging, file));
    }
    await replaceFolder(staging, final);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return final;
}

/** The SAEs that lie in a repository, with the sizes of their weights. */
export async function publishedSaes(
  repo: string,
  options: Omit<DownloadSaeOptions, 'to' | 'registry'> = {},
): Promise<PublishedSae[]> {
  return listSaes(repo, callOptions('list SAEs', Options.omit({ to: true, registry: true }), options));
}
