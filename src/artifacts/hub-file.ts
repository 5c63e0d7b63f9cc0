import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, type PathInfo } from '@huggingface/hub';
import { SaeLensError } from '../errors.ts';
import { access, type HubRepo } from './hub-access.ts';
import { ask, hubError } from './hub-answer.ts';

/** Without a single byte for so long a download counts as dead; a slow one is left alone. */
const STALL_DEADLINE_MS = 60_000;
/** How often a download that was cut is taken up again. */
const RESUMES = 4;

/**
 * Fetches one file into the `blobs/` of a repository's folder in the cache, checked by size and hash, and links it
 * from the snapshot of the commit: the layout of huggingface_hub in Python.
 */
export async function fetchFile(repo: HubRepo, store: string, commit: string, info: PathInfo): Promise<void> {
  const pointer = join(store, 'snapshots', commit, info.path);
  if ((await stat(pointer).catch(() => null))?.size === info.size) return;
  const expected = info.lfs?.oid ?? info.oid;
  if (expected === undefined || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(expected)) {
    throw hubError(repo, 'HUB', `the hub gave no hash for "${info.path}"`);
  }
  const blob = join(store, 'blobs', expected);
  await mkdir(dirname(blob), { recursive: true });
  await mkdir(dirname(pointer), { recursive: true });
  if ((await stat(blob).catch(() => null))?.size !== info.size) {
    const incomplete = `${blob}.${process.pid}.incomplete`;
    const file = await open(incomplete, 'w');
    try {
      const seen = await new Download(repo, commit, info, file).run();
      if (seen !== expected) throw damaged(repo, `"${info.path}" arrived damaged (hash ${seen}, not ${expected})`);
      await rename(incomplete, blob);
    } finally {
      await file.close();
      await rm(incomplete, { force: true });
    }
  }
  await rm(pointer, { force: true });
  await symlink(relative(dirname(pointer), blob), pointer);
}

const damaged = (repo: HubRepo, reason: string): SaeLensError =>
  hubError(repo, 'HUB_DAMAGED', reason, { hint: 'run the same command again: nothing of it was kept' });

/** One file on its way; what was cut is taken up where it ended. */
class Download {
  readonly #repo: HubRepo;
  readonly #commit: string;
  readonly #info: PathInfo;
  readonly #file: FileHandle;
  #done = 0;
  #refused = false;
  #hash = createHash('sha256');

  constructor(repo: HubRepo, commit: string, info: PathInfo, file: FileHandle) {
    this.#repo = repo;
    this.#commit = commit;
    this.#info = info;
    this.#file = file;
    this.#restart();
  }

  /** Returns the hash of what came: sha256 for LFS files, git's blob hash for the others. */
  async run(): Promise<string> {
    const { path, size } = this.#info;
    await ask(this.#repo, async (fetch) => {
      for (let resumes = 0; ; resumes++) {
        try {
          return await this.#read(fetch);
        } catch (error) {
          const isOver = this.#refused || this.#repo.signal?.aborted || resumes === RESUMES;
          if (error instanceof SaeLensError || isOver) throw error;
          this.#repo.log?.warn(`"${path}" was cut after ${this.#done} of ${size} bytes; going on there`);
        }
      }
    });
    if (this.#done !== size) {
      throw damaged(this.#repo, `"${path}" ended after ${this.#done} of the ${size} bytes announced`);
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
    const stop = () => stalled.abort(this.#repo.signal?.reason);
    this.#repo.signal?.addEventListener('abort', stop);
    let watch = setTimeout(giveUp, STALL_DEADLINE_MS);
    try {
      const blob = await downloadFile({
        repo: { type: this.#repo.type, name: this.#repo.name },
        path,
        revision: this.#commit,
        ...access(this.#repo),
        fetch: async (input, init) => {
          const response = await fetch(input, { ...init, signal: stalled.signal });
          this.#refused = !response.ok;
          // A server that cannot give a part gives the whole.
          if (this.#done > 0 && response.status === 200) this.#restart();
          return response;
        },
      });
      if (blob === null) throw hubError(this.#repo, 'HUB_NOT_FOUND', `"${path}" is gone from the repository`);
      const rest = blob.slice(this.#done, size).stream() as unknown as ReadableStream<Uint8Array>;
      for await (const chunk of rest) {
        clearTimeout(watch);
        watch = setTimeout(giveUp, STALL_DEADLINE_MS);
        if (this.#done + chunk.length > size) {
          throw damaged(this.#repo, `"${path}" is longer than the ${size} bytes announced`);
        }
        this.#hash.update(chunk);
        await this.#file.write(chunk, 0, chunk.length, this.#done);
        this.#done += chunk.length;
      }
    } finally {
      clearTimeout(watch);
      this.#repo.signal?.removeEventListener('abort', stop);
    }
  }
}
