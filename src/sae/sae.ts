import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { stagingSuffix } from '../artifacts/checkpoints.ts';
import { fetchReleased, type LocatedSae } from '../artifacts/published-sae.ts';
import { replaceFolder } from '../artifacts/replace-folder.ts';
import { checkSaeFolder, readSaeFolder } from '../artifacts/sae-folder.ts';
import { SaeLensError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { float32Array, float32Values } from '../worker/job.ts';
import type { Worker } from '../worker/worker.ts';
import { callOptions, lentWorker, someLogger } from './call-options.ts';
import { leaseWorker, type WorkerLease } from './lease.ts';
import { float32Rows, type Rows } from './rows.ts';

const CLOSED = 'load it again';
/** A result comes in one frame; larger inputs are sent in parts of at most so many numbers (64 MiB). */
const NUMBERS_A_CALL = 16 * 2 ** 20;

const Loaded = z.object({
  handle: z.int(),
  cfg: z.record(z.string(), z.unknown()),
  d_in: z.int(),
  d_sae: z.int(),
});

/** Where and how an SAE is loaded. */
export interface LoadOptions {
  /** `cpu`, `cuda`, `cuda:1`, `mps`; default `cpu`. */
  device?: string;
  /** Default: the one in cfg.json. */
  dtype?: 'float32' | 'bfloat16' | 'float16' | 'float64';
  /** A worker of your own; without one, all SAEs share one that ends with the last of them. */
  worker?: Worker;
}

/** How an SAE is fetched from the hub. */
export interface PretrainedOptions extends LoadOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string;
  /** A file of releases of your own, beside the well-known ones. */
  registry?: string;
  /** Where it says what is fetched and why it waits; default: nowhere. */
  log?: Logger;
}

const Load = z.strictObject({
  device: z
    .string()
    .regex(/^(cpu|mps|cuda(:\d+)?)$/, 'expected cpu, cuda, cuda:N or mps')
    .optional(),
  dtype: z.enum(['float32', 'bfloat16', 'float16', 'float64']).optional(),
  worker: lentWorker.optional(),
});
const Pretrained = z.object({
  release: z.string().min(1),
  saeId: z.string(),
  options: Load.extend({
    revision: z.string().min(1).optional(),
    registry: z.string().min(1).optional(),
    log: someLogger.optional(),
  }),
});

/** The contents of cfg.json. */
export type SaeConfigDict = Record<string, unknown>;

/**
 * A trained sparse autoencoder. The numbers lie in a Python worker; arrays go there and back as Arrow frames.
 * Close it when done, or declare it with `await using`: an open one keeps its worker, and so the process, alive.
 */
export class SAE {
  /** cfg.json in the words of SAELens 6. */
  readonly cfg: SaeConfigDict;
  readonly dIn: number;
  readonly dSae: number;
  /** log10 of how often each latent fires, where the folder says so. */
  readonly sparsity: Float32Array | null;
  readonly #handle: number;
  readonly #lease: WorkerLease;
  #open = true;

  private constructor(loaded: z.infer<typeof Loaded>, sparsity: Float32Array | null, lease: WorkerLease) {
    this.cfg = loaded.cfg;
    this.dIn = loaded.d_in;
    this.dSae = loaded.d_sae;
    this.sparsity = sparsity;
    this.#handle = loaded.handle;
    this.#lease = lease;
  }

  /**
   * Loads an SAE folder of ours, of SAELens 6 or 5, or of another library whose format is known by its files: Gemma
   * Scope, Llama Scope, sparsify, dictionary_learning.
   *
   * @throws SaeLensError SAE_INVALID when it is no whole SAE, ENVIRONMENT_MISSING before `sae-lens-ts setup`,
   * DEVICE_UNAVAILABLE, USAGE.
   */
  static async loadFromDisk(folder: string, options: LoadOptions = {}): Promise<SAE> {
    const given = callOptions('load an SAE', z.object({ folder: z.string().min(1), options: Load }), {
      folder,
      options,
    });
    return SAE.#load({ path: folder, released: null }, given.options);
  }

  static async #load({ path, released }: LocatedSae, options: z.output<typeof Load>): Promise<SAE> {
    const { worker, device = 'cpu', dtype = null } = options;
    await checkSaeFolder(path);
    const lease = await leaseWorker(worker);
    try {
      const { overrides = {}, normScalingFactor: norm_scaling_factor = null } = released ?? {};
      const params = { path, device, dtype, overrides, norm_scaling_factor };
      const { value, arrays } = await lease.worker.call('load_sae', params, []);
      const sparsity = arrays.find(({ name }) => name === 'log_sparsity');
      return new SAE(Loaded.parse(value), sparsity === undefined ? null : float32Values(sparsity), lease);
    } catch (error) {
      await lease.release();
      throw error;
    }
  }

  /**
   * Fetches a published SAE from the Hugging Face hub (or its cache) and loads it.
   *
   * @param release name of a release (`gpt2-small-res-jb`), or a repository, `user/repo`
   * @param saeId id of the SAE in the release (`blocks.8.hook_resid_pre`), or its folder in the repository
   * @returns the SAE, cfg.json as a dictionary, and log10 sparsity where there is one
   * @throws SaeLensError RELEASE_NOT_FOUND, HUB…, SAE_INVALID and what else `loadFromDisk` throws
   */
  static async fromPretrained(
    release: string,
    saeId: string,
    options: PretrainedOptions = {},
  ): Promise<[sae: SAE, cfgDict: SaeConfigDict, sparsity: Float32Array | null]> {
    const given = callOptions('fetch an SAE', Pretrained, { release, saeId, options });
    const { revision, registry, log, ...load } = given.options;
    const sae = await SAE.#load(await fetchReleased(release, saeId, { revision, registry, log }), load);
    return [sae, sae.cfg, sae.sparsity];
  }

  /** `standard`, `topk`, … */
  get architecture(): string {
    return String(this.cfg.architecture);
  }

  /**
   * Latent activations of model activations.
   *
   * @param x rows of `dIn` numbers; it must not change before the promise settles, since a Float32Array is not copied
   * @returns as many rows of `dSae` numbers, one after the other
   * @throws SaeLensError USAGE for anything else, for a closed SAE, and while the worker trains
   */
  encode(x: Rows): Promise<Float32Array> {
    return this.#map('encode', x, this.dIn, this.dSae);
  }

  /**
   * Model activations of latent activations.
   *
   * @param latents rows of `dSae` numbers, given and refused as those of `encode`
   * @returns as many rows of `dIn` numbers, one after the other
   */
  decode(latents: Rows): Promise<Float32Array> {
    return this.#map('decode', latents, this.dSae, this.dIn);
  }

  /**
   * Writes it as an SAE folder that SAELens loads too: in inference form, scaling folded. An older SAE in the folder is
   * replaced as a whole.
   *
   * @throws SaeLensError SAE_INVALID for an architecture that SAELens cannot load, STORAGE when the folder holds
   * anything else, USAGE for a closed SAE
   */
  async saveInferenceModel(folder: string): Promise<void> {
    if (!this.#open) throw new SaeLensError('USAGE', 'Cannot save an SAE that was closed', { hint: CLOSED });
    const final = resolve(folder);
    const staging = `${final}.${stagingSuffix()}`;
    try {
      const params = { handle: this.#handle, path: null, folder: staging };
      await this.#lease.worker.call('export_sae', params, []);
      await readSaeFolder(staging);
      await replaceFolder(staging, final);
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
  }

  /** Lets the worker forget it; the shared worker ends with its last SAE. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    // Nothing depends on when it is done: that may be after a training run.
    this.#lease.worker.request('unload_sae', { handle: this.#handle });
    await this.#lease.release();
  }

  /** Closes it at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #map(op: 'encode' | 'decode', given: Rows, from: number, to: number): Promise<Float32Array> {
    if (!this.#open) throw new SaeLensError('USAGE', `Cannot ${op} with an SAE that was closed`, { hint: CLOSED });
    const values = float32Rows(op, given, from);
    const rows = values.length / from;
    const result = new Float32Array(rows * to);
    const rowsACall = Math.max(1, Math.floor(NUMBERS_A_CALL / Math.max(from, to)));
    for (let row = 0; row < rows; row += rowsACall) {
      const n = Math.min(rowsACall, rows - row);
      const part = float32Array('x', values.subarray(row * from, (row + n) * from), [n, from]);
      const { arrays } = await this.#lease.worker.call(op, { handle: this.#handle }, [part]);
      const [answer] = arrays;
      if (answer === undefined) throw new SaeLensError('PROTOCOL', `The worker answered "${op}" without an array`);
      result.set(float32Values(answer), row * to);
    }
    return result;
  }
}
