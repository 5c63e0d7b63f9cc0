import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { openRepo } from '../artifacts/hub-access.ts';
import {
  type Before,
  type Change,
  type OutgoingFile,
  type PushResult,
  push,
  type UploadProgress,
} from '../artifacts/hub-upload.ts';
import { CARD_NAME, type CardSae, frontMatterProblem, modelCard } from '../artifacts/model-card.ts';
import { SAE_FILES, WEIGHTS_NAME } from '../artifacts/sae-folder.ts';
import { isShareable, localSae, localSaes, type SharedSae, sharedSae } from '../artifacts/sae-publication.ts';
import { SaeLensError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { callOptions, lentWorker, someLogger } from '../sae/call-options.ts';
import { leaseWorker } from '../sae/lease.ts';
import { SAE } from '../sae/sae.ts';
import type { Worker } from '../worker/worker.ts';

/** A line about the sending comes at most so often. */
const PROGRESS_EVERY_MS = 2_000;

/** Where SAEs go and how; names as in SAELens. */
export interface UploadOptions {
  /** Model repository, `user/name`; made when it is not there. */
  hf_repo_id: string;
  /** Branch; made when it is not there. Default `main`. */
  hf_revision?: string | undefined;
  /** Make a private repository, and never send to a public one. Default: a new one is public. */
  hf_is_private_repo?: boolean | undefined;
  /** Lines about the sending on stderr, or in `log`. Default: true. */
  show_progress?: boolean | undefined;
  /** Write the SAEs into the model card; what others wrote in it stays. Default: true. */
  add_default_readme?: boolean | undefined;
  /** Say what would be sent, with sizes, and change nothing. */
  dry_run?: boolean | undefined;
  /** Replace other SAEs that have these names there. */
  force?: boolean | undefined;
  /** Default: HF_TOKEN, or the token of `hf auth login`. */
  token?: string | undefined;
  /** The worker that brings SAEs into inference form; without one, a shared one where it is needed. */
  worker?: Worker | undefined;
  log?: Logger | undefined;
  /** Told of bytes as they are sent. */
  onProgress?: ((progress: UploadProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** What an upload did, or, in a dry run, would do. */
export interface UploadResult extends PushResult {
  /** The SAEs that SAELens could not have loaded as they were, and that went in inference form. */
  readonly converted: readonly string[];
}

/** Segments that mean the same on every system, in a model card and in a line of code. */
const SAE_ID = /^(?!.*(^|\/)\.{1,2}(\/|$))[\w.+=,@-]+(\/[\w.+=,@-]+)*$/;
/** Names that mean something in the repository or in the folder of an SAE: no folder can have them beside the file. */
const RESERVED = new Set([CARD_NAME, '.gitattributes', '.git', ...SAE_FILES].map((name) => name.toLowerCase()));

/** Why an SAE cannot be named so; undefined where it can. */
function idProblem(id: string): string | undefined {
  if (!SAE_ID.test(id)) return 'expected a folder name such as blocks.0';
  const reserved = id.split('/').find((part) => RESERVED.has(part.toLowerCase()));
  return reserved === undefined ? undefined : `${reserved} is the name of a file that repositories have`;
}
const optionalFlag = z.boolean().optional();
const Given = z.object({
  saes: z
    .record(
      z.string(),
      z.union(
        [z.string().min(1), z.custom<SAE>((value) => value instanceof SAE)],
        'expected an SAE, or the path of one or of a run',
      ),
    )
    .superRefine((saes, { addIssue }) => {
      if (Object.keys(saes).length === 0) addIssue('expected at least one SAE');
      for (const id of Object.keys(saes)) {
        const message = idProblem(id);
        if (message !== undefined) addIssue({ code: 'custom', path: [id], message });
      }
    }),
  options: z.strictObject({
    hf_repo_id: z.string(),
    hf_revision: z.string().optional(),
    hf_is_private_repo: optionalFlag,
    show_progress: optionalFlag,
    add_default_readme: optionalFlag,
    dry_run: optionalFlag,
    force: optionalFlag,
    token: z.string().optional(),
    worker: lentWorker.optional(),
    log: someLogger.optional(),
    onProgress: z.custom<UploadOptions['onProgress']>((value) => typeof value === 'function').optional(),
    signal: z.instanceof(AbortSignal).optional(),
  }),
});

/** An SAE ready to leave, and what the card tells of it. */
interface Ready extends SharedSae {
  readonly id: string;
  readonly metrics: CardSae['metrics'];
}

/**
 * Shares SAEs on the Hugging Face hub, in one commit, so that SAELens and this package load them by
 * `from_pretrained(hf_repo_id, id)`. Only the four files of an SAE leave, without secrets and paths of this machine;
 * what SAELens could not load is brought into inference form. What is there already is not sent; an upload that ends
 * early leaves nothing half, and the next one goes on.
 *
 * @param saes folder in the repository → an SAE held here, the path of an SAE folder, or that of a run
 * @throws SaeLensError USAGE, SAE_INVALID, INTERRUPTED, and a code of its own for each way the hub refuses (HUB…)
 */
export async function uploadSaesToHuggingface(
  saes: Readonly<Record<string, SAE | string>>,
  options: UploadOptions,
): Promise<UploadResult> {
  const given = callOptions('upload SAEs', Given, { saes, options }).options;
  const log = given.show_progress === false ? given.log : (given.log ?? createLogger());
  const { hf_repo_id, hf_revision: revision, token, signal } = given;
  const repo = await openRepo('model', hf_repo_id, 'upload to', { revision, token, log, signal });
  const say = progressLines(log);
  const scratch = await mkdtemp(join(tmpdir(), 'sae-lens-ts-upload-'));
  try {
    const ready: Ready[] = [];
    const converted: string[] = [];
    for (const [id, sae] of await eachSae(saes)) {
      ready.push(
        await makeReady(id, sae, join(scratch, String(ready.length)), given.worker, () => {
          log?.info(`${id}: bringing it into the form that SAELens loads`);
          converted.push(id);
        }),
      );
    }
    const ids = ready.map(({ id }) => id);
    const result = await push(repo, (before) => changeOf(ready, before, { ...given, log, revision: repo.revision }), {
      message: ids.length === 1 ? `Upload SAE ${ids[0]}` : `Upload ${ids.length} SAEs`,
      isPrivate: given.hf_is_private_repo,
      dryRun: given.dry_run,
      force: given.force,
      onProgress: (progress) => {
        given.onProgress?.(progress);
        say(progress);
      },
    });
    return { ...result, converted };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A path of a run of several SAEs means all of them, each in a folder of its name. */
async function eachSae(saes: Readonly<Record<string, SAE | string>>): Promise<[string, SAE | string][]> {
  const each: [string, SAE | string][] = [];
  for (const [id, sae] of Object.entries(saes)) {
    if (typeof sae !== 'string') each.push([id, sae]);
    else for (const [name, path] of await localSaes(sae)) each.push([name === null ? id : `${id}/${name}`, path]);
  }
  return each;
}

/** Lines about the sending, for people. */
function progressLines(log: Logger | undefined): (progress: UploadProgress) => void {
  let said = performance.now();
  return ({ path, sentBytes, totalBytes }) => {
    if (performance.now() - said < PROGRESS_EVERY_MS) return;
    said = performance.now();
    log?.info(`sent ${megabytes(sentBytes)} of ${megabytes(totalBytes)} MB (${path})`);
  };
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

async function makeReady(
  id: string,
  sae: SAE | string,
  scratch: string,
  worker: Worker | undefined,
  onConvert: () => void,
): Promise<Ready> {
  if (sae instanceof SAE) {
    await sae.saveInferenceModel(scratch);
    return { id, metrics: {}, ...(await sharedSae(scratch)) };
  }
  const { folder, metrics } = await localSae(sae);
  if (await isShareable(folder)) return { id, metrics, ...(await sharedSae(folder)) };
  onConvert();
  const lease = await leaseWorker(worker);
  try {
    await lease.worker.call('export_sae', { handle: null, path: folder, folder: scratch }, []);
  } finally {
    await lease.release();
  }
  return { id, metrics, ...(await sharedSae(scratch, folder)) };
}

/** Files of the SAEs and the card, as seen from what is there. */
async function changeOf(
  saes: readonly Ready[],
  before: Before,
  {
    hf_repo_id: repo,
    revision,
    add_default_readme = true,
    log,
  }: {
    hf_repo_id: string;
    revision: string;
    add_default_readme?: boolean | undefined;
    log: Logger | undefined;
  },
): Promise<Change> {
  const files: OutgoingFile[] = saes.flatMap(({ id, files }) =>
    files.map(({ name, content, bytes }) => ({ path: `${id}/${name}`, content, bytes })),
  );
  // What an earlier SAE of this name had besides would be read as this one's.
  const names = saes.flatMap(({ id }) => SAE_FILES.map((name) => `${id}/${name}`));
  const deleted = [...(await before.filesAt(names)).keys()].filter((path) => !files.some((file) => file.path === path));
  if (add_default_readme) {
    const card = await before.readText(CARD_NAME);
    const problem = card === null ? null : frontMatterProblem(card);
    if (problem !== null) {
      log?.warn(
        `${CARD_NAME} of ${repo} has front matter that cannot be read (${problem}): it is left as it is, and the hub does ` +
          'not see that there are SAEs. Mend its first lines there, then upload again: library_name and tags are added',
      );
    }
    const content = Buffer.from(modelCard(card, saes, { repo, revision }));
    files.push({ path: CARD_NAME, content, bytes: content.length });
  }
  return { files, deleted, kept: saes.map(({ id }) => `${id}/${WEIGHTS_NAME}`) };
}

/**
 * `FOLDER=SAE_ID` or `FOLDER`, whose SAE is then named by its hook, as they are written on the command line. Of a run of
 * several SAEs each is named `SAE_ID/NAME`.
 *
 * @throws SaeLensError USAGE for two SAEs of one name, SAE_INVALID
 */
export async function namedSaes(words: readonly string[]): Promise<Record<string, string>> {
  const saes: Record<string, string> = {};
  for (const word of words) {
    const split = existsSync(word) ? -1 : word.lastIndexOf('=');
    const path = split < 0 ? word : word.slice(0, split);
    if (path === '') {
      throw new SaeLensError('USAGE', `Cannot upload "${word}": it names no folder`, {
        hint: 'write the folder of a run or an SAE, then =NAME',
      });
    }
    for (const [name, folder] of await localSaes(path)) {
      const given = split < 0 ? await hookOf(folder) : word.slice(split + 1);
      const id = name === null ? given : `${given}/${name}`;
      if (saes[id] !== undefined) {
        throw new SaeLensError('USAGE', `Two SAEs would be named "${id}": ${saes[id]} and ${folder}`, {
          hint: `name them: ${saes[id]}=${id}-a ${folder}=${id}-b`,
        });
      }
      saes[id] = folder;
    }
  }
  return saes;
}

async function hookOf(path: string): Promise<string> {
  const { folder } = await localSae(path);
  const { cfg } = await sharedSae(folder);
  const { hook_name } = { ...cfg, ...(cfg.metadata as Record<string, unknown> | undefined) } as Record<string, unknown>;
  return typeof hook_name === 'string' ? hook_name : basename(folder);
}
