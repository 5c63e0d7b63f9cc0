import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, getHFHubCachePath, modelInfo, type PathInfo, pathsInfo } from '@huggingface/hub';
import { closest } from 'fastest-levenshtein';
import { SaeLensError } from '../errors.ts';
import { type Logger, redact } from '../log.ts';
import { writeFileAtomic } from './atomic.ts';
import { patientFetch, type Refusal } from './patient-fetch.ts';
import { FORMAT_FILES, filesOfFormat, recogniseFormat, saeFoldersOf } from './sae-format.ts';

const HUB_URL = 'https://huggingface.co';
/** For an answer that carries facts, not files. */
const ANSWER_DEADLINE_MS = 30_000;
/** Without a single byte for so long a download counts as dead; a slow one is left alone. */
const STALL_DEADLINE_MS = 60_000;
/** How often a download that was cut is taken up again. */
const RESUMES = 4;

export interface HubOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string | undefined;
  /** Default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the token file of `hf auth login`. */
  token?: string | undefined;
  /** Default: HF_ENDPOINT, else huggingface.co. */
  hubUrl?: string | undefined;
  /** Default: the cache Python uses too (HF_HUB_CACHE, HF_HOME). */
  cacheDir?: string | undefined;
  /** Where it says what it fetches and why it waits; default: nowhere. */
  log?: Logger | undefined;
}

interface Source {
  repo: string;
  folder: string;
  revision: string;
  hubUrl: string;
  token: { value: string; from: string } | null;
  /** The repository's folder in the cache. */
  store: string;
  log: Logger | undefined;
}

/**
 * Fetches the SAE in `folder` of a model repository ("" is its root) into the Hugging Face cache and returns the local
 * folder. Only the files of an SAE are ever fetched; each is checked by size and hash before it gets its name.
 * With HF_HUB_OFFLINE nothing is asked and the cache must have it.
 */
export async function downloadSae(repo: string, folder = '', options: HubOptions = {}): Promise<string> {
  const revision = options.revision ?? 'main';
  checkRepo(repo);
  if (folder !== '') checkPath(folder, 'folder');
  checkPath(revision, 'revision');
  const source: Source = {
    repo,
    folder,
    revision,
    hubUrl: (options.hubUrl ?? process.env.HF_ENDPOINT ?? HUB_URL).replace(/\/+$/, ''),
    token: await findToken(options.token),
    store: join(options.cacheDir ?? getHFHubCachePath(), `models--${repo.replaceAll('/', '--')}`),
    log: options.log,
  };
  if (isOffline()) return fromCache(source);

  const commit = await ask(source, (fetch) =>
    modelInfo({ name: repo, revision: source.revision, additionalFields: ['sha'], ...access(source), fetch }),
  ).then((info) => info.sha as string | undefined);
  if (commit === undefined || !/^[0-9a-f]{40}$/.test(commit)) {
    throw hubError(source, `the hub named no commit for revision "${source.revision}"`);
  }
  const paths = FORMAT_FILES.map((name) => join(folder, name));
  const found = await ask(source, (fetch) => pathsInfo({ repo, paths, revision: commit, ...access(source), fetch }));
  // The answer is not trusted with names: only paths that were asked for count (faults H5).
  const there = found.filter((info) => info.type === 'file' && paths.includes(info.path));
  const { format, missing } = recogniseFormat(there.map((info) => relative(folder, info.path)));
  if (missing[0] !== undefined) throw await missingFile(source, commit, missing[0]);
  const wanted = filesOfFormat(format).map((name) => join(folder, name));
  const files = there.filter((info) => wanted.includes(info.path));
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  source.log?.info(`${repo}: ${files.length} files, ${(bytes / 1e6).toFixed(1)} MB`);
  for (const info of files) await fetchFile(source, commit, info);
  const refs = join(source.store, 'refs', source.revision);
  await mkdir(dirname(refs), { recursive: true });
  await writeFileAtomic(refs, commit);
  return join(source.store, 'snapshots', commit, folder);
}

/** One file into `blobs/`, checked, then a relative link from the snapshot: the layout of huggingface_hub in Python. */
async function fetchFile(source: Source, commit: string, info: PathInfo): Promise<void> {
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
    const file = await open(incomplete, 'w');
    try {
      const seen = await new Download(source, commit, info, file).run();
      if (seen !== expected) throw hubError(source, `"${info.path}" arrived damaged (hash ${seen}, not ${expected})`);
      await rename(incomplete, blob);
    } finally {
      await file.close();
      await rm(incomplete, { force: true });
    }
  }
  await rm(pointer, { force: true });
  await symlink(relative(dirname(pointer), blob), pointer);
}

/** One file on its way; what was cut is taken up where it ended. */
class Download {
  readonly #source: Source;
  readonly #commit: string;
  readonly #info: PathInfo;
  readonly #file: FileHandle;
  #done = 0;
  #refused = false;
  #hash = createHash('sha256');

  constructor(source: Source, commit: string, info: PathInfo, file: FileHandle) {
    this.#source = source;
    this.#commit = commit;
    this.#info = info;
    this.#file = file;
    this.#restart();
  }

  /** Returns the hash of what came: sha256 for LFS files, git's blob hash for the others. */
  async run(): Promise<string> {
    const { path, size } = this.#info;
    await ask(this.#source, async (fetch) => {
      for (let resumes = 0; ; resumes++) {
        try {
          return await this.#read(fetch);
        } catch (error) {
          if (error instanceof SaeLensError || this.#refused || resumes === RESUMES) throw error;
          this.#source.log?.warn(`"${path}" was cut after ${this.#done} of ${size} bytes; going on there`);
        }
      }
    });
    if (this.#done !== size) {
      throw hubError(this.#source, `"${path}" ended after ${this.#done} of the ${size} bytes announced`);
    }
    return this.#hash.digest('hex');
  }

  #restart(): void {
    const { lfs, size } = this.#info;
    this.#done = 0;
    this.#hash = lfs ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  }

  async #read(fetch: typeof globalThis.fetch): Promise<void> {
    const { path, size } = this.#info;
    const stalled = new AbortController();
    const giveUp = () => stalled.abort(new Error(`no data for ${STALL_DEADLINE_MS / 1000} s`));
    let watch = setTimeout(giveUp, STALL_DEADLINE_MS);
    try {
      const blob = await downloadFile({
        repo: this.#source.repo,
        path,
        revision: this.#commit,
        ...access(this.#source),
        fetch: async (input, init) => {
          const response = await fetch(input, { ...init, signal: stalled.signal });
          this.#refused = !response.ok;
          // A server that cannot give a part gives the whole.
          if (this.#done > 0 && response.status === 200) this.#restart();
          return response;
        },
      });
      if (blob === null) throw hubError(this.#source, `"${path}" is gone from the repository`);
      const rest = blob.slice(this.#done, size).stream() as unknown as ReadableStream<Uint8Array>;
      for await (const chunk of rest) {
        clearTimeout(watch);
        watch = setTimeout(giveUp, STALL_DEADLINE_MS);
        if (this.#done + chunk.length > size) {
          throw hubError(this.#source, `"${path}" is longer than the ${size} bytes announced`);
        }
        this.#hash.update(chunk);
        await this.#file.write(chunk, 0, chunk.length, this.#done);
        this.#done += chunk.length;
      }
    } finally {
      clearTimeout(watch);
    }
  }
}

/** What the cache has for the revision, or one message that lists what is missing (faults H4). */
async function fromCache(source: Source): Promise<string> {
  const commit = /^[0-9a-f]{40}$/.test(source.revision)
    ? source.revision
    : (await readFile(join(source.store, 'refs', source.revision), 'utf8').catch(() => '')).trim();
  const folder = join(source.store, 'snapshots', commit, source.folder);
  const there = commit === '' ? [] : FORMAT_FILES.filter((name) => existsSync(join(folder, name)));
  const { missing } = recogniseFormat(there);
  if (missing.length === 0) return folder;
  throw hubError(source, `HF_HUB_OFFLINE is set and the cache lacks ${missing.join(' and ')}`, {
    hint: 'unset HF_HUB_OFFLINE, or fetch it once with a network and keep the cache (HF_HOME)',
  });
}

const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
const access = ({ hubUrl, token }: Source) => ({ hubUrl, ...(token === null ? {} : { accessToken: token.value }) });

/** A question that is asked patiently; its failure is explained by what the hub answered last. */
async function ask<T>(source: Source, question: (fetch: typeof globalThis.fetch) => Promise<T>): Promise<T> {
  let refusal: Refusal | null = null;
  const once: typeof globalThis.fetch = (input, init) =>
    fetch(input, { ...init, signal: init?.signal ?? AbortSignal.timeout(ANSWER_DEADLINE_MS) });
  const patient = patientFetch(once, {
    onWait: (status, ms) =>
      source.log?.warn(`${source.hubUrl} answered ${status}; waiting ${(ms / 1000).toFixed(1)} s`),
    onRefusal: (last) => {
      refusal = last;
    },
  });
  try {
    return await question(patient);
  } catch (error) {
    if (error instanceof SaeLensError) throw error;
    throw refusal === null ? unreachable(source, error) : refused(source, refusal);
  }
}

function unreachable(source: Source, error: unknown): SaeLensError {
  // The hub's client ends a stream with a text for an error.
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const { message: deeper, code } = (cause ?? {}) as NodeJS.ErrnoException;
  const reason = [message, deeper || code].filter(Boolean).join(': ');
  return hubError(source, `${source.hubUrl} did not answer as a hub does (${reason})`, {
    cause: error,
    hint: 'check the network and HF_ENDPOINT; with HF_HUB_OFFLINE=1 the cache alone is used',
  });
}

/** Five causes, five messages (faults H1). Without a token the hub answers 401 for a repository that does not exist. */
function refused(source: Source, { status, code, requestId, tries }: Refusal): SaeLensError {
  const page = `${source.hubUrl}/${source.repo}`;
  const tried = source.token === null ? 'no token was sent' : `the token of ${source.token.from} was sent`;
  const because = (reason: string, hint: string): SaeLensError =>
    hubError(source, reason, { hint, details: { status, request_id: requestId } });
  if (status === 403 || code === 'GatedRepo') {
    return because(
      `access is restricted (${status}, ${tried})`,
      `ask for access at ${page} and use a token of that account`,
    );
  }
  if (status === 401) {
    return because(
      `${source.token === null ? 'it does not exist or is private' : 'the token was refused'} (401, ${tried})`,
      'check the name; for a private repository set HF_TOKEN or run `hf auth login`',
    );
  }
  if (status === 404 && code === 'RevisionNotFound') {
    return because(`it has no revision "${source.revision}" (404)`, `see the branches and tags at ${page}/tree/main`);
  }
  if (status === 404) return because(`there is no such repository (404, ${tried})`, `check the name at ${page}`);
  const id = requestId === null ? '' : `, request ${requestId}`;
  return because(`the hub answered ${status} after ${tries} ${tries === 1 ? 'try' : 'tries'}${id}`, 'try again later');
}

/** Names the folder that was most likely meant. */
async function missingFile(source: Source, commit: string, name: string): Promise<SaeLensError> {
  const files = await ask(source, (fetch) =>
    modelInfo({ name: source.repo, revision: commit, additionalFields: ['filePaths'], ...access(source), fetch }),
  ).then((info) => (info.filePaths as string[] | undefined) ?? []);
  const folders = saeFoldersOf(files);
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

/** What becomes part of a path in the cache may only point downwards (faults H5). */
function checkPath(path: string, what: 'folder' | 'revision'): void {
  if (!/[\\:\0]/.test(path) && path.split('/').every((part) => !['', '.', '..'].includes(part))) return;
  throw new SaeLensError('HUB', `Cannot use ${JSON.stringify(path)} as a ${what} of a repository`, {
    hint: 'give names with "/" between them, none of them "." or ".."',
  });
}

/** @throws SaeLensError HUB for what is no token of a hub: the hub's client would not send it. */
async function findToken(given: string | undefined): Promise<Source['token']> {
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const path = process.env.HF_TOKEN_PATH ?? join(home, 'token');
  const found: [from: string, value: string | undefined][] = [
    ['the token option', given],
    ['HF_TOKEN', process.env.HF_TOKEN],
    ['HUGGING_FACE_HUB_TOKEN', process.env.HUGGING_FACE_HUB_TOKEN],
    [path, await readFile(path, 'utf8').catch(() => undefined)],
  ];
  for (const [from, text] of found) {
    const value = text?.trim();
    if (!value) continue;
    if (value.startsWith('hf_')) return { value, from };
    throw new SaeLensError('HUB', `Cannot use the token of ${from}: a token of the hub begins with "hf_"`, {
      hint: 'make one at https://huggingface.co/settings/tokens, or remove this one for public repositories',
    });
  }
  return null;
}
