import { join } from 'node:path';
import { type Logger, withoutSecrets } from '../log.ts';
import type { RunEvent, Sink } from './sink.ts';

/** Rows waiting for W&B; more are dropped and counted. At SAELens' usual frequency that is hours. */
const QUEUE_OPERATIONS = 20_000;
/** Rows of one call: a call costs a quarter of a millisecond, a row a fifth of that. */
const ROWS_A_CALL = 200;
/** So long a row may wait for company. */
const BATCH_MS = 1_000;
/** The client itself gives up on its server after 30 s and goes on offline. */
const START_DEADLINE_MS = 120_000;
const LOG_DEADLINE_MS = 60_000;
/** Hashing the weights takes a while; the upload is in the background. */
const ARTIFACT_DEADLINE_MS = 300_000;
const FACADE = 'pyworker.facade.wandb_run';

/** What the sink needs of a Python process; `PythonSession` is one. */
export interface PythonCalls {
  call<T>(
    module: string,
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<T>;
  close(graceMs: number): Promise<void>;
}

export interface WandbOptions {
  /** `logger` of the run's configuration, SAELens' names. */
  logger: {
    log_activations_store_to_wandb: boolean;
    log_optimizer_state_to_wandb: boolean;
    log_weights_to_wandb: boolean;
    wandb_project: string;
    wandb_id: string | null;
    run_name: string | null;
    wandb_entity: string | null;
  };
  /** The whole resolved configuration: W&B's run config and the metadata of artifacts. */
  config: Record<string, unknown>;
  model_name: string;
  hook_name: string;
  /** The run folder; the client makes its `wandb` folder in there. */
  directory: string;
}

interface Row {
  step: number;
  row: Record<string, number>;
  histograms: Record<string, { counts: readonly number[]; edges: readonly number[] }>;
}
type Operation = { kind: 'row'; row: Row } | { kind: 'checkpoint'; event: RunEvent & { kind: 'checkpoint' } };
interface Started {
  mode: 'online' | 'offline' | 'disabled';
  reason: string | null;
  url: string | null;
  directory: string;
}

/**
 * Weights & Biases through its official client, in a Python process of its own. Everything is queued; the client may
 * be missing, slow, hanging or killed, and the run only loses what W&B would have shown.
 */
export class WandbSink implements Sink {
  readonly name = 'W&B';
  readonly #options: WandbOptions;
  readonly #startPython: () => Promise<PythonCalls>;
  readonly #log: Logger;
  readonly #queue: Operation[] = [];
  readonly #done: Promise<void>;
  #python: PythonCalls | null = null;
  #started: Started | null = null;
  #dSae = 0;
  #saes: Readonly<Record<string, { readonly d_sae: number }>> = {};
  #dropped = 0;
  #off = false;
  #closing = false;
  #wake: () => void = () => {};

  constructor(options: WandbOptions, startPython: () => Promise<PythonCalls>, log: Logger) {
    this.#options = options;
    this.#startPython = startPython;
    this.#log = log;
    this.#done = this.#run().catch((error: Error) => this.#fail(error));
  }

  /** Rows and checkpoints W&B did not get. */
  get dropped(): number {
    return this.#dropped;
  }

  consume(event: RunEvent): void {
    if (event.kind === 'started') [this.#dSae, this.#saes] = [event.d_sae, event.saes ?? {}];
    else if (event.kind === 'metrics')
      this.#push({ kind: 'row', row: { step: event.step, row: named(event.sae, event.row), histograms: {} } });
    else if (event.kind === 'histogram') {
      const { step, name, counts, edges } = event;
      this.#push({ kind: 'row', row: { step, row: {}, histograms: named(event.sae, { [name]: { counts, edges } }) } });
    } else if (event.kind === 'checkpoint' && !event.recurring) this.#push({ kind: 'checkpoint', event });
  }

  async close(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    this.#closing = true;
    this.#wake();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), deadlineMs);
    });
    try {
      if ((await Promise.race([this.#done, late])) === 'late') this.#fail(new Error(`not done after ${deadlineMs} ms`));
    } finally {
      clearTimeout(timer);
      await this.#python?.close(Math.max(0, end - performance.now()));
    }
    if (this.#dropped > 0)
      this.#log.warn(`W&B lacks ${this.#dropped} rows or checkpoints of this run; metrics.jsonl has them`);
    if (this.#started?.mode === 'offline') this.#log.info(`to upload this run: wandb sync ${this.#started.directory}`);
  }

  #push(operation: Operation): void {
    if (this.#off || this.#queue.length >= QUEUE_OPERATIONS) {
      this.#dropped++;
      return;
    }
    this.#queue.push(operation);
    if (this.#queue.length >= ROWS_A_CALL || operation.kind === 'checkpoint') this.#wake();
  }

  async #run(): Promise<void> {
    const { logger, config, directory } = this.#options;
    const python = await this.#startPython();
    this.#python = python;
    // Given up before it was there: nobody else knows of it.
    if (this.#off) return python.close(0);
    const started = await python.call<Started>(
      FACADE,
      'start',
      [],
      {
        directory,
        ...withoutSecrets({
          project: logger.wandb_project,
          entity: logger.wandb_entity,
          name: logger.run_name,
          run_id: logger.wandb_id,
          config,
        }),
      },
      START_DEADLINE_MS,
    );
    this.#started = started;
    if (started.reason !== null) this.#log.warn(`W&B works offline: ${started.reason}`);
    else if (started.url !== null) this.#log.info(`W&B: ${started.url}`);
    while (!this.#off) {
      if (this.#queue.length < ROWS_A_CALL && !this.#closing) await this.#wait(BATCH_MS);
      if (this.#queue.length > 0) await this.#send(python);
      else if (this.#closing) break;
    }
    if (!this.#off) await python.call(FACADE, 'finish', [0], {}, LOG_DEADLINE_MS);
  }

  /** One call: the rows up to the next checkpoint, or that checkpoint. */
  async #send(python: PythonCalls): Promise<void> {
    const first = this.#queue[0];
    if (first?.kind === 'checkpoint') {
      for (const artifact of this.#artifacts(first.event)) {
        await python.call(FACADE, 'log_artifact', [], { ...artifact }, ARTIFACT_DEADLINE_MS);
      }
      this.#queue.shift();
      return;
    }
    const rows: Row[] = [];
    for (const operation of this.#queue) {
      if (operation.kind !== 'row' || rows.length >= ROWS_A_CALL) break;
      rows.push(operation.row);
    }
    await python.call(FACADE, 'log', [rows], {}, LOG_DEADLINE_MS);
    this.#queue.splice(0, rows.length);
  }

  /** SAELens' artifacts of a checkpoint (reference/saelens.md §4.3), and the state files when they exist and are wanted. */
  #artifacts({ sae, path, final, optimizer_state, activations_store }: RunEvent & { kind: 'checkpoint' }) {
    const { logger, config, model_name, hook_name } = this.#options;
    const size = sae === undefined ? this.#dSae : `${this.#saes[sae]?.d_sae}_${sae}`;
    const name = artifactName(`sae_${model_name}_${hook_name}_${size}`);
    const aliases = final ? ['final_model'] : [];
    const metadata = withoutSecrets(config);
    const file = (inner: string): Record<string, string> => ({ [inner]: join(path, inner) });
    const artifacts = [
      {
        name,
        kind: 'model',
        files: { ...(logger.log_weights_to_wandb ? file('sae_weights.safetensors') : {}), ...file('cfg.json') },
        aliases,
        metadata,
      },
      {
        name: artifactName(`${name}_log_feature_sparsity`),
        kind: 'log_feature_sparsity',
        files: file('sparsity.safetensors'),
        aliases,
        metadata,
      },
    ];
    const state = (wanted: boolean, kind: string, from: string | null): void => {
      // The finished SAE has no state of its training beside it; the checkpoints have.
      if (!wanted || from === null) return;
      artifacts.push({
        name: artifactName(`${name}_${kind}`),
        kind,
        files: { [`${kind}.safetensors`]: from },
        aliases,
        metadata,
      });
    };
    state(logger.log_optimizer_state_to_wandb, 'optimizer_state', optimizer_state);
    state(logger.log_activations_store_to_wandb, 'activations_store', activations_store);
    return artifacts;
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #fail(error: Error): void {
    if (this.#off) return;
    this.#off = true;
    this.#dropped += this.#queue.length;
    this.#queue.length = 0;
    this.#log.warn(`W&B is left out, training goes on: ${error.message}`);
  }
}

/** What all SAEs of a run say alike. */
const OF_THE_RUN = /^(details\/n_training_samples$|system\/)/;

/** The keys of one of several SAEs as SAELens names them, `<sae>/<key>`; those of the run stay. */
function named<T>(sae: string | undefined, values: Readonly<Record<string, T>>): Record<string, T> {
  const key = (name: string) => (sae === undefined || OF_THE_RUN.test(name) ? name : `${sae}/${name}`);
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [key(name), value]));
}

/** W&B takes letters, digits, "_", "-" and "." in a name; SAELens writes "/" as "__". */
export const artifactName = (text: string): string =>
  text
    .replaceAll('/', '__')
    .replace(/[^\w.-]/g, '_')
    .slice(0, 128);
