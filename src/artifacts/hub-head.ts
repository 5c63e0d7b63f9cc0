import { datasetInfo, type ListFileEntry, listFiles, modelInfo, type PathInfo, pathsInfo } from '@huggingface/hub';
import { access, type HubRepo, isPathBelow } from './hub-access.ts';
import { type Asking, ask, hubError } from './hub-answer.ts';

/** More files of one repository are not looked through (faults H5). */
const LISTED = 10_000;
/** The hub takes so many paths in a question. */
const PATHS_A_QUESTION = 500;

/** Where a revision is. */
export interface Head {
  readonly commit: string;
  readonly isPrivate: boolean;
}

/** The commit that the revision names now. `accept` answers for a refusal, for a repository that may not be there. */
export async function readHead<T = never>(
  repo: HubRepo,
  accept?: (refusal: Parameters<NonNullable<Asking['accept']>>[0]) => T | undefined,
): Promise<Head | T> {
  const { name, revision } = repo;
  const answer = await ask<{ sha?: string; private: boolean } | T>(
    repo,
    (fetch) => {
      const params = { name, revision, additionalFields: ['sha' as const], ...access(repo), fetch };
      return repo.type === 'model' ? modelInfo(params) : datasetInfo(params);
    },
    accept === undefined ? {} : { accept },
  );
  if (typeof answer !== 'object' || answer === null || !('private' in answer)) return answer as T;
  if (!/^[0-9a-f]{40}$/.test(answer.sha ?? '')) {
    throw hubError(repo, 'HUB', `the hub named no commit for revision "${revision}"`);
  }
  return { commit: answer.sha as string, isPrivate: answer.private };
}

/** Of these paths, those that are files there. The answer is not trusted with names: only what was asked for counts. */
export async function filesAt(repo: HubRepo, commit: string, paths: readonly string[]): Promise<Map<string, PathInfo>> {
  const files = new Map<string, PathInfo>();
  for (let from = 0; from < paths.length; from += PATHS_A_QUESTION) {
    const asked = paths.slice(from, from + PATHS_A_QUESTION);
    const { type, name } = repo;
    const found = await ask(repo, (fetch) =>
      pathsInfo({ repo: { type, name }, paths: asked, revision: commit, ...access(repo), fetch }),
    );
    for (const info of found) if (info.type === 'file' && asked.includes(info.path)) files.set(info.path, info);
  }
  return files;
}

/** What lies in a repository. */
export interface Listing {
  readonly files: ListFileEntry[];
  /** Names that could lead out of a folder; nothing is ever done with them (faults H5). */
  readonly refused: string[];
  /** There are more files than are looked through. */
  readonly isCut: boolean;
}

/** The files of a repository, ten thousand at most. */
export async function listRepo(repo: HubRepo, commit: string): Promise<Listing> {
  const [files, refused]: [ListFileEntry[], string[]] = [[], []];
  const isCut = await ask(repo, async (fetch) => {
    const { type, name } = repo;
    const entries = listFiles({ repo: { type, name }, revision: commit, recursive: true, ...access(repo), fetch });
    for await (const entry of entries) {
      if (files.length + refused.length === LISTED) return true;
      if (!isPathBelow(entry.path)) refused.push(entry.path);
      else if (entry.type === 'file') files.push(entry);
    }
    return false;
  });
  return { files, refused, isCut };
}
