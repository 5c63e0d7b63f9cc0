import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commitFolder } from '../artifacts/checkpoints.ts';
import { pruneRecurring } from '../artifacts/recurring-checkpoints.ts';
import { endSession, type RunPaths, type RunSession, writeLastWords } from '../artifacts/run-folder.ts';
import { ACTIVATIONS_NAME, OPTIMIZER_NAME } from '../artifacts/sae-folder.ts';
import { configsOf, type ResolvedConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { bytes } from '../format.ts';
import type { Logger } from '../log.ts';
import type { RunEvent, Sink } from '../sinks/sink.ts';
import type { ActivationFeed } from '../stream/activation-feed.ts';
import { type ActivationBatch, ActivationTap } from '../stream/activation-tap.ts';
import { MetricsLog, type MetricsRow } from '../stream/metrics-log.ts';
import type { Job, JobEvent } from '../worker/job.ts';
import type { Worker } from '../worker/worker.ts';
import { rememberSpeed } from './measured-speed.ts';
import { nextSteps, resumeCommand } from './next-steps.ts';
import { recordMachine } from './run-machine.ts';
import { followRows, type RunPicture, showRows } from './run-picture.ts';
import { shellWord } from './shell-word.ts';
import { type StagedFolder, TrainResult, trainingEvent } from './training-events.ts';

/** W&B may have an artifact to upload; the terminal and the files need milliseconds. */
const SINKS_CLOSE_MS = 60_000;
/** Whoever kills a run waits neither for an upload nor for a slow disk. */
const KILLED_CLOSE_MS = 300;
/** Rows and the word of a checkpoint take different ways; the worker sends rows ten times a second. */
const ROWS_LOOK_MS = 20;

/** How a run ended and what it left. */
export interface TrainingResult {
  /** `done` after all tokens, `stopped` on request, `data_ended` when the dataset ended first. */
  readonly ended: 'done' | 'stopped' | 'data_ended';
  /** The finished SAE, or the folder of several; null for a stopped run, whose state is `checkpoint`. */
  readonly output: string | null;
  /** Of several SAEs each one by its name, where they are finished. */
  readonly outputs: Readonly<Record<string, string>>;
  /** The last complete checkpoint. */
  readonly checkpoint: string | null;
  /** The run folder. */
  readonly folder: string;
  readonly nTrainingSteps: number;
  readonly nTrainingSamples: number;
  /** Of several SAEs all together. */
  readonly numDeadFeatures: number;
  /** The last value of every metric, under SAELens' names; of several SAEs with `<name>/` before each. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly elapsedS: number;
}

/** The numbers of one step under SAELens' names; evaluations and sparsity statistics come as rows of their own. */
export type Metrics = Readonly<Record<string, number>> & {
  readonly step: number;
  /** Of a run of several SAEs the name of the one they are of; the one value that is a text. */
  // biome-ignore lint/suspicious/noExplicitAny: a text cannot be said beside keys that are all numbers
  readonly sae?: any;
};

/** Rows of several SAEs come in streams of their own (pyworker/runners/trained_sae.py). */
const ROWS_OF = 'metrics/';

/** @internal What a run is made of. */
export interface RunParts {
  readonly config: ResolvedConfig;
  readonly paths: RunPaths;
  readonly name: string;
  readonly sinks: Sink;
  /** Settles when every row so far is in the file of metrics. */
  readonly rowsWritten: () => Promise<void>;
  readonly log: Logger;
  /** What it trains on, when that does not come from a language model or a cache. */
  readonly feed?: ActivationFeed | undefined;
  /** Samples that were trained on before; null where nobody here knows. */
  readonly began: number | null;
  /** What the plan says it takes, the language model not included; null where that is not known. */
  readonly plannedBytes: number | null;
  /** Lets go of everything the run holds: worker, sinks, which have so long to write out what is left, lock, log. */
  readonly release: (sinksMs: number) => Promise<void>;
}

/** A training run that is on its way. Readers may come, go and come again; the run does not wait for them. */
export class TrainingRun {
  readonly name: string;
  /** Every place the run writes to. */
  readonly paths: RunPaths;
  /** The configuration, complete. */
  readonly config: ResolvedConfig;
  /** Settles when everything is on disk and every sink is closed. */
  readonly done: Promise<TrainingResult>;
  readonly #parts: RunParts;
  readonly #rows = new MetricsLog();
  readonly #tap: ActivationTap;
  readonly #began = performance.now();
  readonly #last: Record<string, number> = {};
  readonly #worker: Worker;
  readonly #job: Job;
  #checkpoint: string | null = null;
  #nRows = 0;
  #stage = '';
  #output: string | null = null;
  readonly #outputs: Record<string, string> = {};
  #killed = false;
  /** Takes the run back when its producer failed: for that error, not for one of the worker. */
  readonly #cancel = new AbortController();
  /** What is written while training goes on, one after the other; it never rejects. */
  #written: Promise<void> = Promise.resolve();
  /** The first thing the run was for that could not be written. */
  #unwritten: unknown;

  /** @internal Made by `SAETrainingRunner.start`. */
  constructor(parts: RunParts, worker: Worker, params: Record<string, unknown>) {
    this.#parts = parts;
    this.name = parts.name;
    this.paths = parts.paths;
    this.config = parts.config;
    this.#worker = worker;
    this.#tap = new ActivationTap((count) => this.#job.credit(count));
    this.#job = worker.request('train', params, {
      onEvent: (event) => this.#onEvent(event),
      onMetrics: (batch) => {
        for (const row of this.#rows.push(batch)) this.#onRow(metricsOf(row));
        this.#nRows += batch.header.rows;
      },
      onActivations: (batch) => this.#tap.push(batch),
      signal: this.#cancel.signal,
    });
    const { feed } = parts;
    feed
      ?.pump({ open: (columns) => this.#job.feed(columns), end: (frames) => this.#job.endFeed(frames) })
      .catch((error) => this.#cancel.abort(error));
    this.done = this.#finish();
    // Whoever does not look at the end still must not die of an unhandled rejection.
    this.done.catch(() => {});
  }

  /** Every row of metrics from the first on; ends when the run ends, throws what the run failed with. */
  async *metrics(): AsyncGenerator<Metrics, void, void> {
    for await (const row of this.#rows) yield metricsOf(row);
  }

  /** @internal Nobody will ask for `metrics()`: weeks of a run on a terminal take no more memory than a minute. */
  forgetMetrics(): void {
    this.#rows.forget();
  }

  /** Batches the SAE is trained on, for one reader, as many as it takes; those it has no time for are left out. */
  activations(): AsyncIterable<ActivationBatch> {
    return this.#tap;
  }

  /** All rows, when the run has ended. */
  async collect(): Promise<Metrics[]> {
    const rows: Metrics[] = [];
    for await (const row of this.metrics()) rows.push(row);
    return rows;
  }

  /**
   * Draws loss, L0, explained variance and dead latents of the rows so far, or with `live` as they come, until the run
   * ends. A notebook (tslab, Deno) shows the picture below the cell; elsewhere its `svg` is what there is.
   */
  async show({ live = false }: { readonly live?: boolean } = {}): Promise<RunPicture> {
    return live ? followRows(this.metrics()) : showRows([...this.#rows.soFar()].map(metricsOf));
  }

  /** Finishes the current step, writes a checkpoint and ends; `done` resolves with `stopped`. Nothing when it has ended. */
  async stop(): Promise<void> {
    await this.#job.stop();
  }

  /** Writes a checkpoint after the current step. */
  async checkpointNow(): Promise<void> {
    await this.#job.checkpointNow();
  }

  /** Ends it and its worker at once; what was not checkpointed is lost and `done` rejects with INTERRUPTED. */
  async kill(): Promise<void> {
    if (this.#job.settled) return;
    this.#killed = true;
    await this.#worker.kill();
  }

  /** @internal Something the orchestrator itself has to tell. */
  emit(event: RunEvent): void {
    this.#parts.sinks.consume(event);
  }

  #onEvent(raw: JobEvent): void {
    const event = trainingEvent(raw);
    if (event.kind === 'credit') {
      this.#parts.feed?.credit(event.count);
    } else if (event.kind === 'checkpoint') {
      this.#write(() => this.#commit(event));
    } else if (event.kind === 'log') {
      this.#parts.log[event.level](event.message);
      this.emit(event);
    } else {
      if (event.kind === 'started')
        this.#write(() => recordMachine(this.paths, this.#worker.python, event, this.#parts.log));
      if (event.kind === 'stage') this.#logStage(event.message);
      this.emit(runEvent(event));
    }
  }

  #logStage(message: string): void {
    if (message !== this.#stage) this.#parts.log.debug(message);
    this.#stage = message;
  }

  #write(what: () => Promise<void>): void {
    this.#written = this.#written.then(what).catch((error) => {
      this.#unwritten ??= error;
    });
  }

  #onRow({ step, sae, ...row }: Metrics): void {
    for (const [key, value] of Object.entries(row)) this.#last[sae === undefined ? key : `${sae}/${key}`] = value;
    this.emit({ kind: 'metrics', step, ...(sae === undefined ? {} : { sae }), row });
  }

  /** A checkpoint that cannot be kept costs the checkpoint, not the run; an output that cannot be kept is the run's failure. */
  async #commit({ purpose, staging, final, saes, n_training_samples, n_rows }: StagedFolder): Promise<void> {
    const isOutput = purpose === 'output';
    const keep = isOutput || purpose === 'final';
    if (this.#killed) return rm(staging, { recursive: true, force: true });
    try {
      if (!(await this.#rowsOnDisk(n_rows)) && !keep) {
        return await rm(staging, { recursive: true, force: true });
      }
      await commitFolder({
        staging,
        final,
        kind: isOutput ? 'output' : purpose === 'recurring' ? 'recurring' : 'checkpoint',
        nTrainingSamples: n_training_samples,
        runnerConfigs: configsOf(this.config),
        runConfig: this.config,
        keep,
      });
    } catch (error) {
      if (keep) throw error;
      this.#parts.log.warn(`${(error as Error).message}; training goes on without this checkpoint`);
      return;
    }
    if (purpose === 'recurring') {
      await pruneRecurring(this.paths.checkpoints, this.config.keep_checkpoints).catch((error: Error) =>
        this.#parts.log.warn(error.message),
      );
    }
    if (isOutput) this.#output = final;
    else this.#checkpoint = final;
    if (isOutput) for (const sae of saes) this.#outputs[sae] = join(final, sae);
    for (const sae of saes.length === 0 ? [undefined] : saes) {
      const path = sae === undefined ? final : join(final, sae);
      this.emit({
        kind: 'checkpoint',
        ...(sae === undefined ? {} : { sae }),
        path,
        n_training_samples,
        final: keep,
        recurring: purpose === 'recurring',
        optimizer_state: existing(join(path, OPTIMIZER_NAME)),
        activations_store: existing(join(path, ACTIVATIONS_NAME)),
      });
    }
  }

  /**
   * The rows of the steps before a checkpoint lie on the disk before it exists: a resumed run only adds to them.
   *
   * @returns false when they will never come, because the worker is gone
   */
  async #rowsOnDisk(count: number): Promise<boolean> {
    const areMissing = () => this.#nRows + this.#rows.dropped < count;
    while (areMissing() && !this.#job.settled) await sleep(ROWS_LOOK_MS);
    await this.#parts.rowsWritten();
    return !areMissing();
  }

  async #finish(): Promise<TrainingResult> {
    try {
      const { value } = await this.#job.result.catch(async (error: Error) => {
        // What was staged before the failure is good; one that is cut off here does not exist (promise P1).
        await Promise.race([this.#written, ...(this.#killed ? [sleep(KILLED_CLOSE_MS)] : [])]);
        throw this.#cancel.signal.aborted ? this.#cancel.signal.reason : error;
      });
      const ended = TrainResult.parse(value);
      await this.#written;
      if (this.#unwritten !== undefined) throw this.#unwritten;
      const result: TrainingResult = {
        ended: ended.ended,
        output: this.#output,
        outputs: { ...this.#outputs },
        checkpoint: this.#checkpoint,
        folder: this.paths.folder,
        nTrainingSteps: ended.n_training_steps,
        nTrainingSamples: ended.n_training_samples,
        numDeadFeatures: ended.num_dead_features,
        metrics: { ...this.#last },
        elapsedS: (performance.now() - this.#began) / 1000,
      };
      this.emit({
        kind: 'finished',
        stopped: result.ended === 'stopped',
        n_training_steps: result.nTrainingSteps,
        elapsed_s: result.elapsedS,
        output: result.output,
        checkpoint: result.checkpoint,
        next: nextSteps(this.paths.folder, result, this.#resume, this.#oneOfSeveral),
      });
      const { began } = this.#parts;
      if (result.ended === 'done' && this.#parts.feed === undefined && began !== null)
        await rememberSpeed(this.config, (result.nTrainingSamples - began) / result.elapsedS);
      this.#parts.log.debug(`${result.ended} after ${result.nTrainingSteps} steps`);
      await this.#close(result.ended);
      return result;
    } catch (error) {
      const failure = error instanceof SaeLensError ? this.#withWhatIsLeft(error) : error;
      const { message, code = 'BUG' } = failure as Error & { code?: string };
      this.#parts.log.debug(message, { code });
      await this.#close('failed', failure as Error);
      throw failure;
    }
  }

  async #close(ended: RunSession['ended'], error?: Error): Promise<void> {
    const told = error === undefined ? [] : [writeLastWords(this.paths, error)];
    for (const written of [...told, endSession(this.paths, ended)]) {
      await written.catch((cause: Error) => this.#parts.log.warn(cause.message));
    }
    const { dropped } = this.#rows;
    if (dropped > 0)
      this.#parts.log.warn(`${dropped} rows of metrics are missing: they came faster than they were taken`);
    this.#rows.end(error);
    this.#tap.end(error);
    await this.#parts.feed?.close();
    await this.#parts.release(this.#killed ? KILLED_CLOSE_MS : SINKS_CLOSE_MS);
  }

  /** Null where a program gave the activations: it would have to give them again. */
  get #resume(): string | null {
    if (this.#parts.feed !== undefined) return null;
    const [command, { rescue }, at] = [resumeCommand(this.paths.folder), this.paths, this.#checkpoint];
    return rescue !== null && at !== null && dirname(at) === rescue ? `${command} --from ${shellWord(at)}` : command;
  }

  /** Beside what a killed worker held: what was reckoned with. */
  get #memory(): string | undefined {
    const [held, planned] = [this.#last['system/rss_bytes'], this.#parts.plannedBytes];
    const said = [
      ...(held === undefined ? [] : [`it held ${bytes(held)} when it last told`]),
      ...(planned === null ? [] : [`the plan reckons with ${bytes(planned)} beside Python and the language model`]),
    ];
    return said.length === 0 ? undefined : said.join('; ');
  }

  get #oneOfSeveral(): string | undefined {
    return Object.keys(this.config.saes ?? {})[0];
  }

  /** A failed run says what it left. */
  #withWhatIsLeft(error: SaeLensError): SaeLensError {
    const [checkpoint, output] = [this.#checkpoint, this.#output];
    const hints = [error.hint, error.details.signal === 'SIGKILL' ? this.#memory : undefined];
    if (output !== null) hints.push(`the finished SAE is ${output}`);
    if (checkpoint !== null) hints.push(`the last complete checkpoint is ${checkpoint}`);
    if (checkpoint !== null && output === null) {
      const resume = this.#resume;
      if (resume !== null) hints.push(`go on from it: ${resume}`);
    }
    return new SaeLensError(error.code, error.message, {
      hint: hints.filter((hint) => hint !== undefined).join('\n') || undefined,
      details: {
        ...error.details,
        ...(checkpoint === null ? {} : { checkpoint }),
        ...(output === null ? {} : { output }),
      },
      cause: error.cause,
    });
  }
}

/** A row as readers see it. */
function metricsOf({ stream, values }: MetricsRow): Metrics {
  const sae = stream.startsWith(ROWS_OF) ? { sae: stream.slice(ROWS_OF.length) } : {};
  return { ...sae, ...values } as Metrics;
}

/** What the worker says of no SAE in particular, or of none of several, is not said at all. */
function runEvent(event: object): RunEvent {
  const said = Object.entries(event).filter(([key, value]) => !((key === 'sae' || key === 'saes') && value === null));
  return Object.fromEntries(said) as unknown as RunEvent;
}

const existing = (path: string): string | null => (existsSync(path) ? path : null);
