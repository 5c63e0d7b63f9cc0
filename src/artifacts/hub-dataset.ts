import { readdir, stat } from 'node:fs/promises';
import { join, posix, relative, sep } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { type HubOptions, type HubRepo, openRepo } from './hub-access.ts';
import { listRepo } from './hub-head.ts';
import { type OutgoingFile, type PushOptions, type PushResult, push } from './hub-upload.ts';
import { CARD_NAME } from './model-card.ts';

/** `data-00002-of-00010.arrow`: one of the files that a large one was cut into. */
const SHARD = /^(.*)-\d{5}-of-\d{5}(\.[a-z]+)$/;

/** Where a dataset goes and how. */
export interface PushDatasetOptions extends HubOptions, Partial<PushOptions> {
  /** Dataset repository, `user/name`; made when it is not there. */
  readonly repo: string;
  /** Files that leave with other words than lie here, or that do not lie here at all, by their paths. */
  readonly texts?: ReadonlyMap<string, string> | undefined;
}

/**
 * Brings a folder to a dataset repository in one commit. Files that are there already are not sent; shards of an
 * earlier cut of the same data (`data-00000-of-00004.arrow`, when there are ten now) go away in the same commit.
 * Names that begin with a dot are left out, and a README.md that is there stays as it is: what somebody wrote is never
 * replaced.
 *
 * @throws SaeLensError HUB…, DATASET_INVALID when the folder is empty or holds links, INTERRUPTED
 */
export async function pushDataset(
  folder: string,
  { repo: name, texts = new Map(), ...options }: PushDatasetOptions,
): Promise<PushResult> {
  const repo = await openRepo('dataset', name, 'upload to', options);
  const told = [...texts].map(([path, text]): OutgoingFile => {
    const content = Buffer.from(text);
    return { path, content, bytes: content.length };
  });
  const files = [...(await filesBelow(folder)).filter(({ path }) => !texts.has(path)), ...told];
  return push(
    repo,
    async ({ head, filesAt }) => {
      const hasCard = (await filesAt([CARD_NAME])).size > 0;
      return {
        files: hasCard ? files.filter(({ path }) => path !== CARD_NAME) : files,
        deleted: head === null ? [] : await oldShards(repo, head.commit, files),
      };
    },
    { message: `Upload ${files.length} files with sae-lens-ts`, ...options },
  );
}

async function filesBelow(folder: string): Promise<OutgoingFile[]> {
  const refuse = (reason: string): SaeLensError =>
    new SaeLensError('DATASET_INVALID', `Cannot upload the dataset "${folder}": ${reason}`);
  const files: OutgoingFile[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: Error) => {
    throw refuse(error.message);
  });
  for (const entry of entries) {
    const file = join(entry.parentPath, entry.name);
    const path = relative(folder, file).split(sep).join(posix.sep);
    if (entry.isDirectory() || path.split(posix.sep).some((part) => part.startsWith('.'))) continue;
    // A link would send what lies elsewhere on this machine.
    if (!entry.isFile()) throw refuse(`"${path}" is no regular file`);
    files.push({ path, content: { file }, bytes: (await stat(file)).size });
  }
  if (files.length === 0) throw refuse('it holds no files');
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Shards there of the data that is sent, under names that this cut does not have. */
async function oldShards(repo: HubRepo, commit: string, files: readonly OutgoingFile[]): Promise<string[]> {
  const dataOf = (path: string): string | undefined => SHARD.exec(path)?.slice(1).join();
  const [data, kept] = [new Set(files.map(({ path }) => dataOf(path))), new Set(files.map(({ path }) => path))];
  const isOld = (path: string): boolean => dataOf(path) !== undefined && data.has(dataOf(path)) && !kept.has(path);
  return (await listRepo(repo, commit)).files.map(({ path }) => path).filter(isOld);
}
