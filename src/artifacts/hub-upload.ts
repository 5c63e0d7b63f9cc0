import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { type CommitOperation, commit, createBranch, createRepo, downloadFile, type PathInfo } from '@huggingface/hub';
import { SaeLensError } from '../errors.ts';
import { access, type HubRepo, isOffline, pageOf } from './hub-access.ts';
import { type Asking, ask, hubError } from './hub-answer.ts';
import { filesAt, type Head, readHead } from './hub-head.ts';
import { sendCounted } from './hub-sending.ts';

/** Texts of people, a model card, are smaller. */
const LARGEST_TEXT_BYTES = 1 << 20;

/** A file that shall be in the repository: where it lies here, or what it holds. */
export interface OutgoingFile {
  /** Path in the repository. */
  readonly path: string;
  readonly content: { readonly file: string } | Buffer;
  readonly bytes: number;
}

/** What a commit shall change, seen from the commit it is made on. */
export interface Change {
  readonly files: readonly OutgoingFile[];
  /** Paths that go away. */
  readonly deleted?: readonly string[];
  /** Paths that are not replaced by something else unless `force` says so. */
  readonly kept?: readonly string[];
}

/** The repository as an upload finds it. */
export interface Before {
  /** null in a dry run, when it is not there yet. */
  readonly head: Head | null;
  /** The files there of these paths. */
  filesAt(paths: readonly string[]): Promise<Map<string, PathInfo>>;
  /** A small text file; null when it is not there. */
  readText(path: string): Promise<string | null>;
}

export interface PushOptions {
  /** First line of the commit. */
  readonly message: string;
  /** Make a private repository, and never send to a public one. Default: a new one is public. */
  readonly isPrivate?: boolean | undefined;
  /** Replace what `kept` would keep. */
  readonly force?: boolean | undefined;
  /** Say what would be sent, and change nothing. */
  readonly dryRun?: boolean | undefined;
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
}

/** How far the sending is. */
export interface UploadProgress {
  /** The file that is being sent. */
  readonly path: string;
  readonly sentBytes: number;
  /** Of all files that are not there yet. */
  readonly totalBytes: number;
}

/** What an upload did, or, in a dry run, would do. */
export interface PushResult {
  /** The page of the repository. */
  readonly url: string;
  /** The commit in which everything is there; null in a dry run. */
  readonly commit: string | null;
  /** The files that were not there yet, with their sizes. */
  readonly sent: readonly { path: string; bytes: number }[];
  /** Files that are there already, byte for byte. */
  readonly unchanged: readonly string[];
  readonly deleted: readonly string[];
}

/**
 * Brings files into a repository in one commit, which comes last: an upload that ends before leaves nothing half, and
 * the next one sends only what has not arrived. What is there already is not sent. The commit names the one it was
 * computed from, so that nobody else's is undone: when another came between, `change` is asked once more.
 *
 * @throws SaeLensError with a code of its own for each way the hub refuses (HUB…), INTERRUPTED
 */
export async function push(
  repo: HubRepo,
  change: (before: Before) => Promise<Change>,
  options: PushOptions,
): Promise<PushResult> {
  if (isOffline() && !options.dryRun) {
    throw hubError(repo, 'HUB_OFFLINE', 'HF_HUB_OFFLINE is set', { hint: 'unset HF_HUB_OFFLINE' });
  }
  if (repo.token === null && !options.dryRun) {
    throw hubError(repo, 'HUB_TOKEN', 'the hub takes files only with a token, and none was found', {
      hint: 'set HF_TOKEN, or run `hf auth login`, with a token that may write',
    });
  }
  for (let again = false; ; again = true) {
    const head = options.dryRun ? await seenHead(repo, options) : await openHead(repo, options);
    const { files, deleted = [], kept = [] } = await change(before(repo, head));
    const there = head === null ? new Map<string, PathInfo>() : await filesAt(repo, head.commit, pathsOf(files));
    const sent: OutgoingFile[] = [];
    for (const file of files) if (!(await isSame(file, there.get(file.path)))) sent.push(file);
    const replaced = sent.find(({ path }) => there.has(path) && kept.includes(path));
    if (replaced !== undefined && !options.force) {
      throw hubError(repo, 'HUB_CONFLICT', `it has another "${replaced.path}" already`, {
        hint: 'give it another name there, send it to another --revision, or replace it with --force',
      });
    }
    const result = {
      url: pageOf(repo),
      sent: sent.map(({ path, bytes }) => ({ path, bytes })),
      unchanged: pathsOf(files.filter((file) => !sent.includes(file))),
      deleted,
    };
    if (options.dryRun || head === null) return { ...result, commit: null };
    if (sent.length === 0 && deleted.length === 0) return { ...result, commit: head.commit };
    try {
      return { ...result, commit: await send(repo, head, sent, deleted, options) };
    } catch (error) {
      if (again || !(error instanceof SaeLensError) || error.code !== 'HUB_CONFLICT') throw error;
      repo.log?.warn(`${repo.name} was changed meanwhile; beginning from what is there now`);
    }
  }
}

const pathsOf = (files: readonly { path: string }[]): string[] => files.map(({ path }) => path);

const before = (repo: HubRepo, head: Head | null): Before => ({
  head,
  filesAt: async (paths) => (head === null ? new Map() : filesAt(repo, head.commit, paths)),
  readText: async (path) => {
    if (head === null) return null;
    const info = (await filesAt(repo, head.commit, [path])).get(path);
    if (info === undefined) return null;
    if (info.size > LARGEST_TEXT_BYTES) throw hubError(repo, 'HUB', `its ${path} has ${info.size} bytes`);
    const { type, name } = repo;
    const params = { repo: { type, name }, path, revision: head.commit, ...access(repo) };
    return ask(repo, async (fetch) => (await downloadFile({ ...params, fetch }))?.text() ?? null);
  },
});

/** For a dry run, which has something to say without a hub, too. */
async function seenHead(repo: HubRepo, options: PushOptions): Promise<Head | null> {
  const unseen = `what is in ${repo.name} already is not known`;
  if (isOffline()) {
    repo.log?.warn(`HF_HUB_OFFLINE is set: ${unseen}`);
    return null;
  }
  try {
    return await openHead(repo, options);
  } catch (error) {
    if (!(error instanceof SaeLensError) || error.code !== 'HUB_UNREACHABLE') throw error;
    repo.log?.warn(`${error.message}: ${unseen}`);
    return null;
  }
}

/** The commit to build on; what is missing is made. In a dry run nothing is: null stands for an empty repository. */
async function openHead(repo: HubRepo, options: PushOptions): Promise<Head | null> {
  const found = await readHead(repo, ({ status, code }) =>
    [401, 404].includes(status) && (code === 'RepoNotFound' || code === 'RevisionNotFound') ? code : undefined,
  );
  if (typeof found !== 'string') return checked(repo, found, options);
  const main: HubRepo = { ...repo, revision: 'main' };
  if (found === 'RepoNotFound') {
    if (options.dryRun) return null;
    await makeRepo(repo, options);
  }
  const start = checked(repo, await readHead(main), options);
  if (repo.revision === 'main' || options.dryRun) return start;
  const { type, name, revision: branch } = repo;
  await ask<unknown>(
    repo,
    (fetch) => createBranch({ repo: { type, name }, branch, ...access(repo), fetch }),
    acceptExisting,
  );
  return checked(repo, await readHead(repo), options);
}

function checked(repo: HubRepo, head: Head, { isPrivate }: PushOptions): Head {
  if (!isPrivate || head.isPrivate) return head;
  throw hubError(repo, 'HUB_CONFLICT', 'it is public and a private one was asked for', {
    hint: `choose another name, or make it private at ${pageOf(repo)}/settings`,
  });
}

/** What somebody else made meanwhile is taken. */
const acceptExisting: Asking = { accept: ({ status }) => (status === 409 ? 'exists' : undefined) };

async function makeRepo(repo: HubRepo, { isPrivate = false }: PushOptions): Promise<void> {
  const { type, name } = repo;
  const visibility = isPrivate ? 'private' : 'public';
  const accessToken = repo.token?.value as string;
  const made = await ask<unknown>(
    repo,
    (fetch) => createRepo({ repo: { type, name }, visibility, ...access(repo), accessToken, fetch }),
    acceptExisting,
  );
  if (made !== 'exists') repo.log?.info(`made the ${visibility} repository ${pageOf(repo)}`);
}

/** Large files to the storage, then the commit. */
async function send(
  repo: HubRepo,
  parent: Head,
  files: readonly OutgoingFile[],
  deleted: readonly string[],
  { message, onProgress }: PushOptions,
): Promise<string> {
  const operations: CommitOperation[] = [
    ...files.map(({ path, content }) => ({
      operation: 'addOrUpdate' as const,
      path,
      content: Buffer.isBuffer(content) ? new Blob([new Uint8Array(content)]) : pathToFileURL(content.file),
    })),
    ...deleted.map((path) => ({ operation: 'delete' as const, path })),
  ];
  const told = (progress: UploadProgress): void => {
    try {
      onProgress?.(progress);
    } catch (error) {
      // Who only watches may fail without the upload.
      repo.log?.warn(`onProgress failed: ${(error as Error).message}`);
    }
  };
  const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  repo.log?.info(`${repo.name}: ${files.length} files to send, ${(totalBytes / 1e6).toFixed(1)} MB`);
  const { type, name, revision } = repo;
  const answer = await ask(
    repo,
    (fetch) =>
      commit({
        repo: { type, name },
        branch: revision,
        parentCommit: parent.commit,
        title: message,
        operations,
        // Storage by plain HTTP: a file that has arrived is known by its sha256 and not sent again.
        useXet: false,
        ...(repo.signal === undefined ? {} : { abortSignal: repo.signal }),
        ...access(repo),
        fetch,
      }),
    {
      // A commit that was made although its answer was lost names another parent the next time: refused, and read anew.
      repeatCut: true,
      send: sendCounted((path, sentBytes) => told({ path, sentBytes, totalBytes })),
    },
  );
  return answer?.commit.oid as string;
}

/** Whether the hub has these bytes: by sha256 for large files, by git's name for small ones. */
async function isSame({ content, bytes }: OutgoingFile, there: PathInfo | undefined): Promise<boolean> {
  if (there === undefined || there.size !== bytes) return false;
  const hash = there.lfs ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
  if (Buffer.isBuffer(content)) hash.update(content);
  else for await (const chunk of createReadStream(content.file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex') === (there.lfs?.oid ?? there.oid);
}
