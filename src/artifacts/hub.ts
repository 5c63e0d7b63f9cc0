import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, getHFHubCachePath, HubApiError, modelInfo, type PathInfo, pathsInfo } from '@huggingface/hub';
import { closest } from 'fastest-levenshtein';
import { SaeLensError } from '../errors.ts';
import { redact } from '../log.ts';
import { writeFileAtomic } from './atomic.ts';
import { CFG_NAME, SAE_FILES, WEIGHTS_NAME } from './sae-folder.ts';

const HUB_URL = 'https://huggingface.co';
/** For an answer that carries facts, not files. */
const ANSWER_DEADLINE_MS = 30_000;
/** Without a single byte for so long a download counts as dead; a slow one is left alone. */
const STALL_DEADLINE_MS = 60_000;

export interface HubOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string | undefined;
  /** Default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the token file of `hf auth login`. */
  token?: string | undefined;
  /** Default: HF_ENDPOINT, else huggingface.co. */
  hubUrl?: string | undefined;
  /** Default: the cache Python uses too (HF_HUB_CACHE, HF_HOME). */
  cacheDir?: string | undefined;
  onProgress?: ((file: string, doneBytes: number, totalBytes: number) => void) | undefined;
}

interface Source {
  repo: string;
  folder: string;
  revision: string;
  hubUrl: string;
  token: { value: string; from: string } | null;
  /** The repository's folder in the cache. */
  store: string;
}

/**
 * Fetches the SAE in `folder` of a model repository ("" is its root) into the Hugging Face cache and returns the local
 * folder. Only the four files of an SAE are ever fetched; each is checked by size and hash before it gets its name.
 * With HF_HUB_OFFLINE nothing is asked and the cache must have it.
 */
export async function downloadSae(repo: string, folder = '', options: HubOptions = {}): Promise<string> {
  checkRepo(repo);
  checkFolder(folder);
  const source: Source = {
    repo,
    folder,
    revision: options.revision ?? 'main',
    hubUrl: (options.hubUrl ?? process.env.HF_ENDPOINT ?? HUB_URL).replace(/\/+$/, ''),
    token: await findToken(options.token),
    store: join(options.cacheDir ?? getHFHubCachePath(), `models--${repo.replaceAll('/', '--')}`),
  };
  if (isOffline()) return fromCache(source);

  const commit = await ask(source, (fetch) =>
    modelInfo({ name: repo, revision: source.revision, additionalFields: ['sha'], ...access(source), fetch }),
  ).then((info) => info.sha as string | undefined);
  if (commit === undefined || !/^[0-9a-f]{40}$/.test(commit)) {
    throw hubError(source, `the hub named no commit for revision "${source.revision}"`);
  }
  const paths = SAE_FILES.map((name) => join(folder, name));
  const found = await ask(source, (fetch) => pathsInfo({ repo, paths, revision: commit, ...access(source), fetch }));
  // The answer is not trusted with names: only paths that were asked for count (faults H5).
  const files = found.filter((info) => info.type === 'file' && paths.includes(info.path));
  for (const name of [CFG_NAME, WEIGHTS_NAME]) {
    if (!files.some((info) => info.path === join(folder, name))) throw await missingFile(source, commit, name);
  }
  for (const info of files) await fetchFile(source, commit, info, options.onProgress);
  const refs = join(source.store, 'refs', source.revision);
  await mkdir(dirname(refs), { recursive: true });
  await writeFileAtomic(refs, commit);
  return join(source.store, 'snapshots', commit, folder);
}

/** One file into `blobs/`, checked, then a relative link from the snapshot: the layout of huggingface_hub in Python. */
async function fetchFile(
  source: Source,
  commit: string,
  info: PathInfo,
  onProgress: HubOptions['onProgress'],
): Promise<void> {
  const pointer = join(source.store, 'snapshots', commit, info.path);
  if ((await stat(pointer).catch(() => null))?.size === info.size) return;
  const expected = info.lfs?.oid ?? info.oid;
  if (expected === undefined || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(expected)) {
    throw hubError(source, `the hub gave no hash for "${info.path}"`);
  }
  const blob = join(source.store, 'blobs', expected);
  await mkdir(dirname(blob), { recursive: true });
  await mkdir(dirname(pointer), { recursive: true });
  if ((await stat(blob).catch(() => null))?.size !== info.size) {
    const incomplete = `${blob}.${process.pid}.incomplete`;
    try {
      const seen = await download(source, commit, info, incomplete, onProgress);
      if (seen !== expected) throw hubError(source, `"${info.path}" arrived damaged (hash ${seen}, not ${expected})`);
      await rename(incomplete, blob);
    } finally {
      await rm(incomplete, { force: true });
    }
  }
  await rm(pointer, { force: true });
  await symlink(relative(dirname(pointer), blob), pointer);
}

/** Streams the file to `path` and returns its hash: sha256 for LFS files, git's blob hash for the others. */
async function download(
  source: Source,
  commit: string,
  info: PathInfo,
  path: string,
  onProgress: HubOptions['onProgress'],
): Promise<string> {
  const stalled = new AbortController();
  const giveUp = () => stalled.abort(new Error(`no data for ${STALL_DEADLINE_MS / 1000} s`));
  let watch = setTimeout(giveUp, STALL_DEADLINE_MS);
  try {
    const blob = await downloadFile({
      repo: source.repo,
      path: info.path,
      revision: commit,
      ...access(source),
      fetch: (input, init) => fetch(input, { ...init, signal: stalled.signal }),
    });
    if (blob === null) throw hubError(source, `"${info.path}" is gone from the repository`);
    const hash = info.lfs ? createHash('sha256') : createHash('sha1').update(`blob ${info.size}\0`);
    let done = 0;
    const counting = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        clearTimeout(watch);
        watch = setTimeout(giveUp, STALL_DEADLINE_MS);
        hash.update(chunk);
        done += chunk.length;
        if (done > info.size) throw hubError(source, `"${info.path}" is longer than the ${info.size} bytes announced`);
        onProgress?.(info.path, done, info.size);
        yield chunk;
      }
    };
    await pipeline(Readable.fromWeb(blob.stream() as ReadableStream), counting, createWriteStream(path));
    return hash.digest('hex');
  } catch (error) {
    throw error instanceof SaeLensError ? error : explain(source, error, null);
  } finally {
    clearTimeout(watch);
  }
}

/** What the cache has for the revision, or one message that lists what is missing (faults H4). */
async function fromCache(source: Source): Promise<string> {
  const commit = /^[0-9a-f]{40}$/.test(source.revision)
    ? source.revision
    : (await readFile(join(source.store, 'refs', source.revision), 'utf8').catch(() => '')).trim();
  const folder = join(source.store, 'snapshots', commit, source.folder);
  const missing: string[] = [];
  for (const name of [CFG_NAME, WEIGHTS_NAME]) {
    if (commit === '' || (await stat(join(folder, name)).catch(() => null)) === null) missing.push(name);
  }
  if (missing.length === 0) return folder;
  throw hubError(source, `HF_HUB_OFFLINE is set and the cache lacks ${missing.join(' and ')}`, {
    hint: 'unset HF_HUB_OFFLINE, or fetch it once with a network and keep the cache (HF_HOME)',
  });
}

const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
const access = ({ hubUrl, token }: Source) => ({ hubUrl, ...(token === null ? {} : { accessToken: token.value }) });

/** A question with a deadline, its failure explained by the hub's own error code, which only the response carries. */
async function ask<T>(source: Source, question: (fetch: typeof globalThis.fetch) => Promise<T>): Promise<T> {
  let code: string | null = null;
  try {
    return await question(async (input, init) => {
      const response = await fetch(input, { ...init, signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) });
      code = response.headers.get('x-error-code');
      return response;
    });
  } catch (error) {
    throw explain(source, error, code);
  }
}

/** Five causes, five messages (faults H1). Without a token the hub answers 401 for a repository that does not exist. */
function explain(source: Source, error: unknown, code: string | null): SaeLensError {
  if (!(error instanceof HubApiError)) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? `${message}: ${cause.message}` : message;
    return hubError(source, `${source.hubUrl} did not answer as a hub does (${reason})`, {
      cause: error,
      hint: 'check the network and HF_ENDPOINT; with HF_HUB_OFFLINE=1 the cache alone is used',
    });
  }
  const page = `${source.hubUrl}/${source.repo}`;
  const tried = source.token === null ? 'no token was sent' : `the token of ${source.token.from} was sent`;
  const { statusCode } = error;
  const details = { status: statusCode, request_id: error.requestId ?? null };
  if (statusCode === 403 || code === 'GatedRepo') {
    return hubError(source, `access is restricted (${statusCode}, ${tried})`, {
      details,
      hint: `ask for access at ${page} and use a token of that account`,
    });
  }
  if (statusCode === 401) {
    const reason = source.token === null ? 'it does not exist or is private' : 'the token was refused';
    return hubError(source, `${reason} (401, ${tried})`, {
      details,
      hint: 'check the name; for a private repository set HF_TOKEN or run `hf auth login`',
    });
  }
  if (statusCode === 404 && (code === 'RevisionNotFound' || /revision|rev id/i.test(error.message))) {
    return hubError(source, `it has no revision "${source.revision}" (404)`, {
      details,
      hint: `see the branches and tags at ${page}/tree/main`,
    });
  }
  if (statusCode === 404) {
    return hubError(source, `there is no such repository (404, ${tried})`, {
      details,
      hint: `check the name at ${page}`,
    });
  }
  return hubError(source, `the hub answered ${statusCode}: ${error.message}`, { details, hint: 'try again later' });
}

/** Names the folder that was most likely meant. */
async function missingFile(source: Source, commit: string, name: string): Promise<SaeLensError> {
  const files = await ask(source, (fetch) =>
    modelInfo({ name: source.repo, revision: commit, additionalFields: ['filePaths'], ...access(source), fetch }),
  ).then((info) => (info.filePaths as string[] | undefined) ?? []);
  const folders = files.filter((path) => path.endsWith(`/${WEIGHTS_NAME}`)).map((path) => dirname(path));
  const place = source.folder === '' ? 'its root' : `folder "${source.folder}"`;
  return hubError(source, `${place} has no ${name} (404)`, {
    hint:
      folders.length === 0 ? 'it holds no SAE of this format' : `did you mean "${closest(source.folder, folders)}"?`,
  });
}

function hubError(
  source: Source,
  reason: string,
  options: ConstructorParameters<typeof SaeLensError>[2] = {},
): SaeLensError {
  return new SaeLensError('HUB', redact(`Cannot get an SAE from "${source.repo}": ${reason}`), options);
}

function checkRepo(repo: string): void {
  if (/^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(repo) && !repo.includes('..')) return;
  throw new SaeLensError('HUB', `Cannot get an SAE from ${JSON.stringify(repo)}: a repository is named "owner/name"`);
}

/** The folder becomes part of a path in the cache: it may only point downwards (faults H5). */
function checkFolder(folder: string): void {
  const parts = folder.split('/');
  const bad = isAbsolute(folder) || /[\\:\0]/.test(folder) || parts.some((part) => part === '..' || part === '.');
  if (!bad && (folder === '' || parts.every((part) => part !== ''))) return;
  throw new SaeLensError('HUB', `Cannot use ${JSON.stringify(folder)} as a folder of a repository`, {
    hint: 'give it relative to the repository, with "/" between its parts',
  });
}

async function findToken(given: string | undefined): Promise<Source['token']> {
  if (given) return { value: given, from: 'the token option' };
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const value = process.env[name];
    if (value) return { value, from: name };
  }
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const path = process.env.HF_TOKEN_PATH ?? join(home, 'token');
  const value = (await readFile(path, 'utf8').catch(() => '')).trim();
  return value === '' ? null : { value, from: path };
}
