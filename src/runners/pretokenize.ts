import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { dataPlace } from '../artifacts/data-place.ts';
import { openRepo } from '../artifacts/hub-access.ts';
import { hubError } from '../artifacts/hub-answer.ts';
import { PretokenizeRunnerConfig, type PretokenizeRunnerOptions, type RunnerOptions } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { createLogger, type Logger, withoutSecrets } from '../log.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { cacheHome } from '../worker/cache-home.ts';
import { requireEnvironment } from '../worker/environment.ts';
import type { Job } from '../worker/job.ts';
import { Worker } from '../worker/worker.ts';
import { Pretokenized, type PretokenizeEvent, pretokenizeEvent } from './pretokenize-events.ts';
import { pushPretokenized } from './pretokenize-push.ts';

/** How a pretokenizing run is embedded. */
export interface PretokenizeOptions {
  /** A worker of your own, which stays; without one the run has its own and ends it. */
  worker?: Worker;
  /** Where messages for people go; default: nowhere. */
  log?: Logger;
  /** Stages, counts and what is sent to the hub, as they happen. */
  onEvent?: (event: PretokenizeEvent) => void;
}

/** What was made. */
export interface PretokenizeResult {
  /** `done`; `present` when the same dataset was there already; `stopped` on request: run it again to go on. */
  readonly ended: 'done' | 'present' | 'stopped';
  /** Folder of the dataset, as Hugging Face's `save_to_disk` lays it. */
  readonly path: string;
  /** Where unfinished work lies; null when it is finished. */
  readonly partial: string | null;
  /** The page on the hub; null when it was not pushed. */
  readonly url: string | null;
  readonly contextSize: number;
  readonly nSequences: number;
  readonly nDocuments: number;
  /** Documents that an earlier, interrupted run had done. */
  readonly nContinued: number;
  /** With `disable_concat_sequences`: documents that were too short. */
  readonly nShortDocuments: number;
  /** Of all documents, without the special tokens between them. */
  readonly nTokens: number;
  /** At the end, less than one sequence. */
  readonly nTokensLeftOver: number;
  readonly nBytes: number;
  readonly nShards: number;
  /** Of the shuffle: the one given, or the one that was drawn. */
  readonly seed: number | null;
  readonly elapsedS: number;
}

/** The options, complete. */
type Resolved = RunnerOptions['pretokenize'];

/**
 * Tokenizes a dataset once, so that training need not.
 *
 * @example
 * const { path } = await new PretokenizeRunner(
 *   new PretokenizeRunnerConfig({ tokenizer_name: 'gpt2', dataset_path: 'NeelNanda/c4-10k', save_path: 'c4-10k-gpt2' }),
 * ).run();
 */
export class PretokenizeRunner {
  readonly config: Resolved;
  readonly #options: PretokenizeOptions;

  /** @throws SaeLensError CONFIG_INVALID with all problems at once */
  constructor(cfg: PretokenizeRunnerConfig | PretokenizeRunnerOptions, options: PretokenizeOptions = {}) {
    this.config = cfg instanceof PretokenizeRunnerConfig ? cfg : new PretokenizeRunnerConfig(cfg);
    this.#options = options;
  }

  /**
   * Starts the work; resolves when the worker has it.
   *
   * @throws SaeLensError STORAGE, ENVIRONMENT_MISSING, WORKER_START, HUB_TOKEN
   */
  start(): Promise<PretokenizeRun> {
    return startPretokenizing(this.config, this.#options);
  }

  /** Tokenizes to the end, as SAELens' runner of this name does. */
  async run(): Promise<PretokenizeResult> {
    return (await this.start()).done;
  }
}

/** @internal For a configuration that is complete already. */
export async function startPretokenizing(config: Resolved, options: PretokenizeOptions = {}): Promise<PretokenizeRun> {
  const log = options.log ?? createLogger({ level: 'silent' });
  const path = placeOf(config);
  await requirePlace(path);
  if (config.hf_repo_id !== null) await requireToken(config.hf_repo_id, config.hf_revision);
  const { python } = await requireEnvironment();
  const { tokenizer_name, dataset_path } = config;
  const located = await resolveBundled(
    { model_name: tokenizer_name, dataset_path },
    { python, progress: (message) => log.info(message) },
  );
  const worker = options.worker ?? (await Worker.start({ python, onLog: (_, line) => log.debug(line) }));
  return new PretokenizeRun(
    config,
    path,
    {
      config: { ...config, tokenizer_name: located.model_name, dataset_path: located.dataset_path, save_path: path },
      recorded: withoutSecrets({ ...config, save_path: path }),
    },
    worker,
    { ...options, log },
  );
}

/**
 * Where the dataset goes; one that is only pushed lies in the cache until then.
 *
 * @throws SaeLensError STORAGE when nothing may be put there
 */
export function placeOf(config: Resolved): string {
  if (config.save_path !== null) return dataPlace(config.save_path, 'save_path');
  const key = createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 16);
  return join(cacheHome(), 'pretokenized', key);
}

/** A folder of somebody else is left alone, and that is said before anything is started. */
async function requirePlace(path: string): Promise<void> {
  const held = await readdir(path).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw takenError(path, error.code === 'ENOTDIR' ? 'is a file, or lies below one' : error.message);
  });
  if (held.length > 0 && !held.includes('pretokenize.json'))
    throw takenError(path, `holds ${held.slice(0, 3).join(', ')}`);
}

const takenError = (path: string, reason: string): SaeLensError =>
  new SaeLensError('STORAGE', `The dataset cannot be written to "${path}", which ${reason}`, {
    hint: 'choose a new folder, or an empty one: save_path',
    details: { path },
  });

/** Said before hours of work, not after them. */
async function requireToken(name: string, revision: string): Promise<void> {
  const repo = await openRepo('dataset', name, 'upload to', { revision });
  if (repo.token !== null) return;
  throw hubError(repo, 'HUB_TOKEN', 'the hub takes files only with a token, and none was found', {
    hint: 'set HF_TOKEN, or run `hf auth login`, with a token that may write; or save it here: --save_path',
  });
}

/** A dataset that is being pretokenized. */
export class PretokenizeRun {
  /** Where the dataset will lie. */
  readonly path: string;
  readonly config: Resolved;
  /** Settles when the dataset is on disk, and on the hub when that was asked for. */
  readonly done: Promise<PretokenizeResult>;
  readonly #worker: Worker;
  readonly #job: Job;
  readonly #options: PretokenizeOptions & { log: Logger };
  readonly #began = performance.now();
  readonly #pushing = new AbortController();

  /** @internal Made by `PretokenizeRunner.start`. */
  constructor(
    config: Resolved,
    path: string,
    params: Record<string, unknown>,
    worker: Worker,
    options: PretokenizeOptions & { log: Logger },
  ) {
    this.config = config;
    this.path = path;
    this.#worker = worker;
    this.#options = options;
    this.#job = worker.request('pretokenize', params, { onEvent: (raw) => this.#tell(pretokenizeEvent(raw)) });
    this.done = this.#finish();
    // Whoever does not look at the end still must not die of an unhandled rejection.
    this.done.catch(() => {});
  }

  /** Puts down what is done and ends; `done` resolves with `stopped`. */
  async stop(): Promise<void> {
    this.#pushing.abort();
    await this.#job.stop();
  }

  /** Ends it and its worker at once; what was put down stays, and `done` rejects with INTERRUPTED. */
  async kill(): Promise<void> {
    this.#pushing.abort();
    if (!this.#job.settled) await this.#worker.kill();
  }

  async #finish(): Promise<PretokenizeResult> {
    try {
      const made = Pretokenized.parse((await this.#job.result).value);
      const url = made.ended === 'stopped' ? null : await this.#push(made);
      return {
        ended: made.ended,
        path: made.path,
        partial: made.ended === 'stopped' ? `${made.path}.partial` : null,
        url,
        contextSize: this.config.context_size,
        nSequences: made.n_sequences,
        nDocuments: made.n_documents,
        nContinued: made.n_continued,
        nShortDocuments: made.n_short_documents,
        nTokens: made.n_tokens,
        nTokensLeftOver: made.n_tokens_left_over,
        nBytes: made.n_bytes,
        nShards: made.n_shards,
        seed: made.seed,
        elapsedS: (performance.now() - this.#began) / 1000,
      };
    } finally {
      if (this.#options.worker === undefined) await this.#worker.shutdown();
    }
  }

  async #push(made: Pretokenized): Promise<string | null> {
    const repo = this.config.hf_repo_id;
    if (repo === null) return null;
    try {
      return await pushPretokenized({
        config: { ...this.config, hf_repo_id: repo },
        made,
        worker: this.#worker,
        log: this.#options.log,
        signal: this.#pushing.signal,
        tell: (event) => this.#tell(event),
      });
    } catch (error) {
      if (!(error instanceof SaeLensError)) throw error;
      const kept = `the dataset is complete in "${made.path}": the same command again only sends it`;
      const hint = error.hint === undefined ? kept : `${error.hint}; ${kept}`;
      throw new SaeLensError(error.code, error.message, { hint, details: error.details, cause: error });
    }
  }

  #tell(event: PretokenizeEvent): void {
    if (event.kind === 'log') this.#options.log[event.level](event.message);
    this.#options.onEvent?.(event);
  }
}
