import { dirname } from 'node:path';
import { type CacheManifest, readCacheManifest, shardsOfOtherSize } from '../artifacts/activation-cache.ts';
import { type CacheProgress, cacheProgress, stagingFolder } from '../artifacts/activation-cache-folder.ts';
import { dataPlace } from '../artifacts/data-place.ts';
import { freeSpace } from '../artifacts/free-space.ts';
import type { PushResult, UploadProgress } from '../artifacts/hub-upload.ts';
import { makeFolder } from '../artifacts/make-folder.ts';
import { lockPlace } from '../artifacts/run-lock.ts';
import {
  CacheActivationsRunnerConfig,
  type CacheActivationsRunnerOptions,
  type RunnerOptions,
} from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { type CachePlan, planCache } from '../plan/activation-cache.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import type { Job, JobEvent } from '../worker/job.ts';
import { Worker } from '../worker/worker.ts';
import { damagedError } from './cache.ts';
import { CacheEnd, type CacheEvent, cacheEvent } from './cache-events.ts';
import { pushCache } from './cache-push.ts';

/** How a caching run is embedded. */
export interface CacheActivationsOptions {
  /** A worker of your own, which stays loaded after the run; without one the run has its own and ends it. */
  worker?: Worker;
  /** Where messages for people go; default: nowhere. */
  log?: Logger;
  /** Stages with how far they are, sizes once they are known, every finished shard. */
  onEvent?: (event: CacheEvent) => void;
  /** How far the sending to the hub is. */
  onUpload?: (progress: UploadProgress) => void;
}

/** What there is when a caching run ends. */
export interface CacheActivationsResult {
  /** `stopped` on request: the same options again go on after the last finished shard. */
  readonly ended: 'done' | 'stopped';
  /** The cache; while it is not complete, its shards lie beside, in `<path>.partial`. */
  readonly path: string;
  readonly nSequences: number;
  readonly nTokens: number;
  readonly shardsDone: number;
  readonly bytes: number;
  /** What went to the hub; null without `hf_repo_id`, and for a stopped run. */
  readonly pushed: PushResult | null;
}

/**
 * Computes activations of a language model once and keeps them on disk, where SAELens and sae-lens-ts train from them.
 *
 * @example
 * const cfg = new CacheActivationsRunnerConfig({ model_name: 'gpt2', hook_name: 'blocks.5.hook_resid_post', … });
 * const { path, bytes } = await new CacheActivationsRunner(cfg).run();
 */
export class CacheActivationsRunner {
  readonly config: RunnerOptions['cache-activations'];
  /** Sizes, as far as they are known before the model is loaded. */
  readonly plan: CachePlan;
  /** Where the cache will lie. */
  readonly path: string;
  readonly #options: CacheActivationsOptions;
  readonly #stop = new AbortController();
  #job: Job | null = null;
  #worker: Worker | null = null;

  /** @throws SaeLensError CONFIG_INVALID with all problems at once; STORAGE when it would lie inside a dataset */
  constructor(cfg: CacheActivationsRunnerOptions, options: CacheActivationsOptions = {}) {
    this.config = new CacheActivationsRunnerConfig(cfg);
    this.plan = planCache(this.config);
    this.path = dataPlace(this.config.new_cached_activations_path, 'new_cached_activations_path');
    this.#options = options;
  }

  /**
   * What is there already. Nothing is started, nothing is changed.
   *
   * @throws SaeLensError STORAGE when something else is in that place
   */
  progress(): Promise<CacheProgress> {
    return cacheProgress(this.path, this.#recorded());
  }

  /**
   * Writes the cache, or what is missing of it, and pushes it when `hf_repo_id` says where.
   *
   * @throws SaeLensError STORAGE, ENVIRONMENT_MISSING, and what loading, reading or computing can fail with
   */
  async run(): Promise<CacheActivationsResult> {
    await this.progress();
    const { python } = await requireEnvironment();
    await makeFolder(dirname(this.path));
    const lock = await lockPlace(this.path, `${this.path}.lock.json`, 'cache activations in');
    try {
      const before = await this.progress();
      const result = before.state === 'done' ? await this.#found(before.manifest) : await this.#write(python, before);
      return result.ended === 'done' ? { ...result, pushed: await this.#push() } : result;
    } finally {
      await lock.release();
    }
  }

  /** Finishes the shard it is at and ends; `run` resolves with `stopped`. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#job?.stop();
  }

  /** Ends it at once; the finished shards stay, and `run` rejects with INTERRUPTED. */
  async kill(): Promise<void> {
    this.#stop.abort();
    await this.#worker?.kill();
  }

  async #write(python: string, before: CacheProgress): Promise<CacheActivationsResult> {
    const done = before.state === 'new' ? 0 : before.manifest.shards.reduce((sum, { bytes }) => sum + bytes, 0);
    await this.#requireSpace((this.plan.totalBytes ?? 0) - done);
    const { worker: given, log, onEvent } = this.#options;
    const located = await resolveBundled(this.config, { python, progress: (line) => log?.info(line) });
    const worker = given ?? (await Worker.start({ python }));
    this.#worker = worker;
    try {
      const config = { ...located, new_cached_activations_path: this.path };
      const params = { config, recorded: this.#recorded() };
      this.#job = worker.request('cache_activations', params, {
        onEvent: (event: JobEvent) => {
          const said = cacheEvent(event);
          if (said.kind === 'log') log?.[said.level](said.message);
          else onEvent?.(said);
        },
      });
      if (this.#stop.signal.aborted) await this.#job.stop();
      const { ended, ...sizes } = CacheEnd.parse((await this.#job.result).value);
      return {
        ended,
        path: this.path,
        nSequences: sizes.n_sequences,
        nTokens: sizes.n_tokens,
        shardsDone: sizes.shards_done,
        bytes: sizes.bytes,
        pushed: null,
      };
    } finally {
      if (given === undefined) await worker.shutdown();
    }
  }

  async #found(manifest: CacheManifest): Promise<CacheActivationsResult> {
    const { n_sequences, n_tokens, shards } = manifest;
    const damaged = await shardsOfOtherSize(this.path, manifest);
    if (damaged.length > 0) throw damagedError(this.path, damaged);
    this.#options.log?.info(`the cache is there already: ${this.path}`);
    const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
    const sizes = { nSequences: n_sequences, nTokens: n_tokens, shardsDone: shards.length, bytes };
    return { ended: 'done', path: this.path, ...sizes, pushed: null };
  }

  async #push(): Promise<PushResult | null> {
    const { hf_repo_id: repo, hf_revision: revision, hf_is_private_repo: isPrivate, hook_name } = this.config;
    const manifest = await readCacheManifest(this.path);
    if (repo === null || manifest === null) return null;
    const message = `Upload activations of ${manifest.model_name} at ${[hook_name].flat().join(', ')}`;
    const { log, onUpload: onProgress } = this.#options;
    const { signal } = this.#stop;
    return pushCache(this.path, manifest, { repo, revision, isPrivate, message, log, onProgress, signal });
  }

  /** The options as they were asked for: what lies beside the data, without secrets, and what resuming is held to. */
  #recorded(): Record<string, unknown> {
    return withoutSecrets({ ...this.config });
  }

  async #requireSpace(bytes: number): Promise<void> {
    const free = await freeSpace(stagingFolder(this.path));
    if (bytes <= free) return;
    const gb = (value: number): string => `${(value / 1e9).toFixed(2)} GB`;
    throw new SaeLensError(
      'STORAGE',
      `The cache needs ${gb(bytes)} at "${dirname(this.path)}", where ${gb(free)} are free`,
      {
        hint: 'free some space, lower training_tokens, set dtype to float16, or choose another new_cached_activations_path',
        details: { path: this.path, needed_bytes: bytes, free_bytes: free },
      },
    );
  }
}
