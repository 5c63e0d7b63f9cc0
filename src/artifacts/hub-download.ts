import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { getHFHubCachePath } from '@huggingface/hub';
import { SaeLensError } from '../errors.ts';
import { byNearness } from '../nearest.ts';
import { writeFileAtomic } from './atomic.ts';
import { freeSpace } from './free-space.ts';
import { checkPath, type HubOptions, type HubRepo, isOffline, openRepo } from './hub-access.ts';
import { hubError } from './hub-answer.ts';
import { fetchFile } from './hub-file.ts';
import { filesAt, listRepo, readHead } from './hub-head.ts';
import { FORMAT_FILES, isWeights, recogniseFormat, saeFoldersOf } from './sae-format.ts';

/** Weights that run code when they are read (promise P4). */
const PICKLED = /\.(pt|pth|bin|pkl|pickle|ckpt|joblib)$/i;
/** How many names of a repository a message shows. */
const NAMED = 3;

/** What a download takes besides. */
export interface DownloadOptions extends HubOptions {
  /** Default: the cache Python uses too (HF_HUB_CACHE, HF_HOME). */
  cacheDir?: string | undefined;
  /** Only what describes the SAE: everything but its weights. */
  describedOnly?: boolean | undefined;
}

/** An SAE that lies in a repository. */
export interface PublishedSae {
  /** Its folder, "" for the root. */
  readonly folder: string;
  /** Size of the weights in bytes. */
  readonly bytes: number;
}

/**
 * Fetches the SAE in `folder` of a model repository ("" is its root) into the Hugging Face cache and returns the local
 * folder. Only the files of an SAE are ever fetched; each is checked by size and hash before it gets its name.
 * With HF_HUB_OFFLINE nothing is asked and the cache must have it; it is also used when the hub cannot be reached.
 *
 * @throws SaeLensError with a code of its own for each way the hub refuses (HUB…), PICKLE_REFUSED, STORAGE
 */
export async function downloadSae(name: string, folder = '', options: DownloadOptions = {}): Promise<string> {
  const repo = await openRepo('model', name, 'get an SAE from', options);
  if (folder !== '') checkPath(folder, 'folder');
  const store = storeOf(repo, options);
  const skips = (file: string): boolean => options.describedOnly === true && isWeights(file);
  const cached = (): Promise<string> => cachedFolder(repo, store, folder, skips);
  if (isOffline()) return cached();
  const head = await headOrCache(repo, cached);
  if (typeof head === 'string') return head;
  const { commit } = head;

  const there = await filesAt(
    repo,
    commit,
    FORMAT_FILES.map((file) => join(folder, file)),
  );
  const { files, missing } = recogniseFormat([...there.keys()].map((path) => relative(folder, path)));
  if (missing[0] !== undefined) throw await missingFile(repo, commit, folder, missing[0]);
  const wanted = files.filter((file) => !skips(file)).flatMap((file) => there.get(join(folder, file)) ?? []);
  const bytes = wanted.reduce((sum, { size }) => sum + size, 0);
  repo.log?.info(`${name}: ${wanted.length} files, ${(bytes / 1e6).toFixed(1)} MB`);
  const free = await freeSpace(store);
  if (free < bytes) {
    throw new SaeLensError('STORAGE', `Cannot get an SAE from "${name}": it has ${bytes} bytes and ${free} are free`, {
      hint: 'free some space, or set HF_HOME to a folder on another disk',
    });
  }
  for (const info of wanted) await fetchFile(repo, store, commit, info);
  const refs = join(store, 'refs', repo.revision);
  await mkdir(dirname(refs), { recursive: true });
  await writeFileAtomic(refs, commit);
  return join(store, 'snapshots', commit, folder);
}

/** The SAEs of a model repository, or, when it cannot be asked, those the cache has of it. */
export async function listSaes(name: string, options: DownloadOptions = {}): Promise<PublishedSae[]> {
  const repo = await openRepo('model', name, 'list the SAEs of', options);
  const store = storeOf(repo, options);
  if (isOffline()) return cachedSaes(repo, store);
  const head = await headOrCache(repo, () => cachedSaes(repo, store));
  if (Array.isArray(head)) return head;
  const { files, refused, isCut } = await listRepo(repo, head.commit);
  if (isCut) repo.log?.warn(`${name} has more than ${files.length} files; only those are looked through`);
  if (refused.length > 0) {
    const names = refused.slice(0, NAMED).map((path) => JSON.stringify(path));
    repo.log?.warn(`${name}: ${refused.length} names that lead out of a folder are left out: ${names.join(', ')}`);
  }
  return saesOf(files.map(({ path, size }) => ({ path, bytes: size })));
}

const storeOf = ({ type, name }: HubRepo, { cacheDir }: DownloadOptions): string =>
  join(cacheDir ?? getHFHubCachePath(), `${type}s--${name.replaceAll('/', '--')}`);

function saesOf(files: readonly { path: string; bytes: number }[]): PublishedSae[] {
  return files
    .flatMap(({ path, bytes }) => saeFoldersOf([`/${path}`]).map((folder) => ({ folder: folder.slice(1), bytes })))
    .sort((a, b) => a.folder.localeCompare(b.folder, 'en', { numeric: true }));
}

/** Where the revision is; when the hub is not to be reached, what the cache has, said in the log (faults H4). */
async function headOrCache<T>(repo: HubRepo, fromCache: () => Promise<T>): Promise<{ commit: string } | T> {
  try {
    return await readHead(repo);
  } catch (error) {
    if (!(error instanceof SaeLensError) || error.code !== 'HUB_UNREACHABLE') throw error;
    const cached = await fromCache().catch(() => null);
    if (cached === null) throw error;
    repo.log?.warn(`${error.message}; the cache has it`);
    return cached;
  }
}

async function snapshotOf(repo: HubRepo, store: string): Promise<string | null> {
  const commit = /^[0-9a-f]{40}$/.test(repo.revision)
    ? repo.revision
    : (await readFile(join(store, 'refs', repo.revision), 'utf8').catch(() => '')).trim();
  return commit === '' ? null : join(store, 'snapshots', commit);
}

/** What the cache has for the revision, or one message that lists what is missing (faults H4). */
async function cachedFolder(
  repo: HubRepo,
  store: string,
  folder: string,
  skips: (file: string) => boolean,
): Promise<string> {
  const snapshot = await snapshotOf(repo, store);
  const place = snapshot === null ? null : join(snapshot, folder);
  const there = place === null ? [] : FORMAT_FILES.filter((name) => existsSync(join(place, name)));
  const missing = recogniseFormat(there).missing.filter((name) => !skips(name));
  if (place !== null && missing.length === 0) return place;
  throw notCached(repo, missing.join(' and '));
}

async function cachedSaes(repo: HubRepo, store: string): Promise<PublishedSae[]> {
  const snapshot = await snapshotOf(repo, store);
  const names = snapshot === null ? [] : await readdir(snapshot, { recursive: true }).catch(() => []);
  const files = names.map(async (path) => ({ path, bytes: (await stat(join(snapshot ?? '', path))).size }));
  const saes = saesOf(await Promise.all(files));
  if (saes.length === 0) throw notCached(repo, 'every SAE of it');
  return saes;
}

function notCached(repo: HubRepo, what: string): SaeLensError {
  return hubError(repo, 'HUB_OFFLINE', `HF_HUB_OFFLINE is set and the cache lacks ${what}`, {
    hint: 'unset HF_HUB_OFFLINE, or fetch it once with a network and keep the cache (HF_HOME)',
  });
}

/** Names what was most likely meant, or why what is there is not taken. */
async function missingFile(repo: HubRepo, commit: string, folder: string, name: string): Promise<SaeLensError> {
  const paths = (await listRepo(repo, commit)).files.map(({ path }) => path);
  const folders = saesOf(paths.map((path) => ({ path, bytes: 0 }))).map((sae) => sae.folder);
  const place = folder === '' ? 'its root' : `folder "${folder}"`;
  const pickled = paths.filter((path) => PICKLED.test(path) && dirname(join('/', path)) === join('/', folder));
  if (pickled.length > 0) {
    return hubError(repo, 'PICKLE_REFUSED', `${place} has ${pickled.slice(0, NAMED).join(', ')} and no ${name}`, {
      hint: 'reading a pickle can run any code: load it where you trust it and save it anew with safetensors',
    });
  }
  return hubError(repo, 'HUB_NOT_FOUND', `${place} has no ${name} (404)`, {
    hint:
      folders.length === 0
        ? 'it holds no SAE of a format that is known here'
        : `did you mean "${byNearness(folder, folders)[0]}"? \`sae-lens-ts download ${repo.name}\` lists all ${folders.length}`,
  });
}
