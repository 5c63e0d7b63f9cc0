import { createHash, randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { removeAbandoned, stagingSuffix } from '../artifacts/checkpoints.ts';
import { requireFreeSpace } from '../artifacts/free-space.ts';
import { cutRows, setRowsAside } from '../artifacts/metrics-file.ts';
import { HUB, locateSae } from '../artifacts/published-sae.ts';
import type { ResumePoint } from '../artifacts/resume-point.ts';
import { claimRun, freeRunName } from '../artifacts/run-claim.ts';
import {
  addSession,
  beginning,
  type RunPaths,
  type RunPlaces,
  type RunRecord,
  readRunRecord,
  updateRunRecord,
  writeRunFolder,
} from '../artifacts/run-folder.ts';
import { hearRequests, type RunRequest } from '../artifacts/run-requests.ts';
import { outputOf } from '../artifacts/run-saes.ts';
import { checkSaeFolder } from '../artifacts/sae-folder.ts';
import {
  configsOf,
  LanguageModelSAERunnerConfig,
  type LanguageModelSAERunnerOptions,
  type MultiSAETrainingRunnerOptions,
  parseConfigObject,
  type ResolvedConfig,
} from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { createLogger, type Logger, type LogLevel, withoutSecrets } from '../log.ts';
import { loadsModel, planTraining, runName, type TrainPlan } from '../plan/index.ts';
import { densityLine, JsonlSink } from '../sinks/jsonl.ts';
import type { RunHeader, Sink } from '../sinks/sink.ts';
import { SinkGroup } from '../sinks/sink-group.ts';
import { WandbSink } from '../sinks/wandb.ts';
import { ActivationFeed } from '../stream/activation-feed.ts';
import { VERSION } from '../version.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { cacheHome } from '../worker/cache-home.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { packageRoot } from '../worker/package-root.ts';
import { PythonSession } from '../worker/pythonia.ts';
import { Worker } from '../worker/worker.ts';
import { goingOnFrom, type InterruptedRun, openInterruptedRun, pointOf, pointToGoOnFrom } from './resume.ts';
import { inputHashes, requireSameInputs } from './run-inputs.ts';
import { shellWord } from './shell-word.ts';
import { watchForStandstill } from './standstill.ts';
import { checkOptions, type ResumeOptions, requireOneSource, type TrainingOptions } from './training-options.ts';
import { type TrainingResult, TrainingRun } from './training-run.ts';

/** A run that did not start has nothing to write out. */
const START_FAILED_CLOSE_MS = 1_000;

/** What is written down of a run that is fed and does not say what with. */
const UNNAMED = { model_name: 'unknown', dataset_path: 'unknown', hook_name: 'unknown' };

/**
 * Trains an SAE on the activations of a language model, of a cache of them, or on your own.
 *
 * @example
 * const run = await new SAETrainingRunner(cfg).start();
 * for await (const m of run.metrics()) console.log(m.step, m['metrics/l0']);
 * const { output } = await run.done;
 */
export class SAETrainingRunner {
  readonly config: ResolvedConfig;
  /** What will happen: steps, schedules, memory, disk. */
  readonly plan: TrainPlan;
  readonly #places: RunPlaces;
  #name: string;
  readonly #options: TrainingOptions;
  #interrupted: InterruptedRun | null = null;

  /**
   * A run that was interrupted, to be started again from its last checkpoint. On a CPU its metrics and its SAE become,
   * bit for bit, those that it would have had.
   *
   * @param run its name, or its folder
   * @throws SaeLensError USAGE when there is no such run, RESUME_REFUSED when it is finished or not what it was
   *
   * @example
   * const runner = await SAETrainingRunner.resume('my-run');
   * const { output } = await runner.run();
   */
  static async resume(run: string, { from, ...options }: ResumeOptions = {}): Promise<SAETrainingRunner> {
    const interrupted = await openInterruptedRun(run, options.runsFolder ?? 'runs', from);
    const { config, runsFolder, name } = interrupted;
    const runner = new SAETrainingRunner(config, { ...options, runsFolder, name, provenance: new Map() });
    runner.#interrupted = interrupted;
    return runner;
  }

  /** @throws SaeLensError CONFIG_INVALID with all problems at once, USAGE for wrong `options` */
  constructor(
    cfg: LanguageModelSAERunnerConfig | LanguageModelSAERunnerOptions | MultiSAETrainingRunnerOptions,
    options: TrainingOptions = {},
  ) {
    checkOptions(options);
    // Whoever resolved it already has told what was left out.
    const isResolved = options.provenance !== undefined || cfg instanceof LanguageModelSAERunnerConfig;
    const given = options.activations === undefined ? cfg : { ...UNNAMED, ...cfg };
    this.config = isResolved ? parseConfigObject(given, () => {}) : parseConfigObject(given);
    if (options.activations !== undefined) requireOneSource(this.config);
    this.plan = planTraining(this.config);
    this.#options = options;
    const today = new Date().toISOString().slice(0, 10);
    this.#places = {
      runsFolder: options.runsFolder ?? 'runs',
      name: options.name ?? runName(this.config, today),
      outputPath: this.config.output_path,
      checkpointPath: this.config.checkpoint_path,
      rescueDir: this.config.rescue_dir,
    };
    this.#name = options.name ?? freeRunName(this.#places);
  }

  /** Of the run and its folder. Until the run has started another one may take a name that nobody chose. */
  get name(): string {
    return this.#name;
  }

  /**
   * Starts the run; resolves when the worker has it.
   *
   * @throws SaeLensError ENVIRONMENT_MISSING, STORAGE, WORKER_START; USAGE when the worker of yours is training already or
   * a run of this name has finished; RESUME_REFUSED, SAE_INVALID when there is no going on from a checkpoint
   */
  async start(): Promise<TrainingRun> {
    const { config, plan } = this;
    const options = this.#options;
    requireFree(options.worker);
    const feed =
      options.activations &&
      new ActivationFeed(options.activations, {
        dIn: config.sae.d_in,
        tokenIds: Array.isArray(config.exclude_special_tokens) && config.exclude_special_tokens.length > 0,
      });
    const { python } = await requireEnvironment();
    const claim = await claimRun(this.#places, options.name === undefined);
    const { paths, tookOver } = claim;
    this.#name = claim.name;
    const held: ((deadlineMs: number) => unknown)[] = [() => claim.release()];
    const release = async (deadlineMs: number): Promise<void> => {
      for (let letGo = held.pop(); letGo !== undefined; letGo = held.pop()) await letGo(deadlineMs);
    };
    try {
      if (this.#interrupted === null) await refuseToReplace(paths.folder, this.name);
      for (const place of new Set([paths.folder, dirname(paths.output), dirname(paths.checkpoints)])) {
        await requireFreeSpace(place, plan.disk.totalBytes);
      }
      const file = createLogger({ file: paths.log, level: 'silent' });
      held.unshift(() => file.close());
      const log = options.log === undefined ? file : both(options.log, file);
      held.push(watchForStandstill(log));
      if (tookOver) log.warn(`Took the folder over from process ${tookOver.pid}, which is gone`);
      await removeAbandoned(paths);
      const point = this.#interrupted === null ? await this.#begin(paths, python, log) : await this.#goOn(paths, log);
      const files = [new JsonlSink(paths.metrics, log), new JsonlSink(paths.histograms, log, densityLine)];
      const sinks = new SinkGroup([...(options.sinks ?? []), ...files], log);
      held.push((deadlineMs) => sinks.close(deadlineMs));
      sinks.consume(this.#header(paths.folder));
      // A checkpoint has weights of its own.
      const starts = new Map<string | null, string | null>();
      for (const [name, { from_pretrained_path }] of point === null ? configsOf(config) : []) {
        starts.set(name, await startingWeights(from_pretrained_path, log));
      }
      const progress = (message: string) => log.info(message);
      const located =
        feed === undefined && loadsModel(config) ? await resolveBundled(config, { python, progress }) : config;
      if (feed === undefined) {
        const hashes = await inputHashes(located);
        if (this.#interrupted !== null) await requireSameInputs(paths, hashes);
        await updateRunRecord(paths, { hashes });
      }
      const onLog = (_: string, line: string): void => file.debug(line);
      const worker = options.worker ?? (await Worker.start({ python, onLog }));
      if (options.worker === undefined) held.push(() => worker.shutdown());
      // Again: another run may have taken it meanwhile.
      requireFree(worker);
      // Not before: W&B would show a run that never began.
      if (config.logger.log_to_wandb) sinks.add(this.#wandb(python, paths, log, (await readRunRecord(paths)).wandb_id));
      const rowsWritten = async () => void (await Promise.all(files.map((file) => file.flush())));
      const began = point === null ? 0 : point.nTrainingSamples;
      const plannedBytes = plan.memory?.totalBytes ?? null;
      const parts = { config, paths, name: this.name, sinks, rowsWritten, log, feed, began, plannedBytes, release };
      const places = { checkpoint_path: paths.checkpoints, output_path: paths.output };
      const configs = [...configsOf({ ...located, ...places })].map(
        ([name, one]) => [name, { ...one, from_pretrained_path: starts.get(name) ?? null }] as const,
      );
      const run = new TrainingRun(parts, worker, {
        // What several SAEs share is the same in the configuration of each.
        config: configs[0]?.[1],
        saes: config.saes === undefined ? null : Object.fromEntries(configs),
        recorded: withoutSecrets({ model_name: config.model_name, dataset_path: config.dataset_path }),
        fed: feed !== undefined,
        resume: point?.path ?? null,
        places: {
          checkpoints: paths.checkpoints,
          output: paths.output,
          rescue: paths.rescue,
          staging_suffix: stagingSuffix(),
          kernel_timings: join(cacheHome(), 'kernels.json'),
        },
      });
      const heard = (what: RunRequest): void => {
        log.info(`asked through its folder: ${what}`);
        void (what === 'stop' ? run.stop() : run.checkpointNow()).catch(() => {});
      };
      held.push(hearRequests(paths.folder, claim.id, heard));
      return run;
    } catch (error) {
      await release(START_FAILED_CLOSE_MS);
      throw error;
    }
  }

  /** Trains to the end, as SAELens' runner of this name does. */
  async run(): Promise<TrainingResult> {
    return (await this.start()).done;
  }

  /** A new run, which may begin where another one was. */
  async #begin(paths: RunPaths, python: string, log: Logger): Promise<ResumePoint | null> {
    const { config } = this;
    const point = config.resume_from_checkpoint === null ? null : await pointOf(config, config.resume_from_checkpoint);
    for (const file of [paths.metrics, paths.histograms]) {
      const earlier = await setRowsAside(file);
      if (earlier !== null) log.warn(`${this.name} was run before; its ${basename(file)} is kept as ${earlier}`);
    }
    await writeRunFolder(paths, config, layersOf(this.#options.provenance), this.#record(python, point));
    if (point !== null) goingOnFrom(point, log);
    return point;
  }

  /** The run that was interrupted. What was told after its checkpoint will be told again. */
  async #goOn(paths: RunPaths, log: Logger): Promise<ResumePoint | null> {
    const point = await pointToGoOnFrom(this.#interrupted as InterruptedRun, paths, log);
    for (const file of [paths.metrics, paths.histograms]) {
      const cut = await cutRows(file, point?.nTrainingSteps ?? 0);
      if (cut !== null) log.debug(`What ${basename(file)} held of later steps is kept as ${cut}`);
    }
    await addSession(paths, point);
    if (point === null) log.warn(`${this.name} has no checkpoint yet: it begins again`);
    else goingOnFrom(point, log);
    return point;
  }

  #wandb(python: string, paths: RunPaths, log: Logger, wandb_id: string | null): Sink {
    const { logger, model_name, hook_name } = this.config;
    return new WandbSink(
      { logger: { ...logger, wandb_id }, config: { ...this.config }, model_name, hook_name, directory: paths.wandb },
      () => PythonSession.start({ python, cwd: packageRoot() }),
      log,
    );
  }

  #header(folder: string): RunHeader {
    const { config, plan } = this;
    const saes = [...configsOf(config)].map(([name, { sae }]) => [name, sae] as const);
    const named = saes.map(([name, { architecture, d_sae }]) => [name, { architecture, d_sae }]);
    return {
      kind: 'header',
      run_name: this.name,
      model: config.model_name,
      hook: config.hook_name,
      dataset: config.cached_activations_path ?? config.dataset_path,
      architecture: [...new Set(saes.map(([, { architecture }]) => architecture))].join('+'),
      d_in: config.sae.d_in,
      d_sae: saes.reduce<number | null>(
        (sum, [, { d_sae }]) => (sum === null || d_sae === null ? null : sum + d_sae),
        0,
      ),
      ...(config.saes === undefined ? {} : { saes: Object.fromEntries(named) }),
      training_tokens: config.training_tokens + config.finetuning_tokens,
      total_steps: plan.totalSteps,
      device: config.device,
      folder,
    };
  }

  #record(python: string, point: ResumePoint | null): RunRecord {
    const now = new Date().toISOString();
    const { logger } = this.config;
    return {
      name: this.name,
      created: now,
      command: [...(this.#options.command ?? process.argv)],
      seed: this.config.seed,
      versions: { 'sae-lens-ts': VERSION, node: process.version },
      hashes: { config: createHash('sha256').update(JSON.stringify(this.config)).digest('hex') },
      machine: { platform: `${process.platform}-${process.arch}`, python },
      sizes: {},
      fed: this.#options.activations !== undefined,
      cwd: process.cwd(),
      wandb_id: logger.log_to_wandb ? (logger.wandb_id ?? randomBytes(4).toString('hex')) : null,
      sessions: [beginning(point)],
    };
  }
}

/** @throws SaeLensError USAGE when it is training, WORKER_LOST when it is gone */
function requireFree(worker?: Worker): void {
  const refusal = worker?.refusal('train');
  if (refusal !== undefined) throw refusal;
}

/** The folder of the SAE to begin with, fetched first where it is a published one; null for none. */
async function startingWeights(reference: string | null, log: Logger): Promise<string | null> {
  if (reference === null) return null;
  const path = reference.startsWith(HUB) ? (await locateSae(reference, { log })).path : reference;
  await checkSaeFolder(path);
  return path;
}

/** Layer names for config.yaml; defaults are not named. */
function layersOf(provenance: TrainingOptions['provenance']): Record<string, string> {
  const given = [...(provenance ?? [])].filter(([, { layer }]) => layer !== 'default');
  return Object.fromEntries(given.map(([path, { layer, where }]) => [path, where ?? layer]));
}

/** Messages for people go where the caller wants, and into the run's log. */
function both(people: Logger, file: Logger): Logger {
  const level = (name: LogLevel) => (message: string, fields?: Record<string, unknown>) => {
    people[name](message, fields);
    file[name](message, fields);
  };
  return {
    debug: level('debug'),
    info: level('info'),
    warn: level('warn'),
    error: level('error'),
    printTo: (print) => people.printTo(print),
    close: () => {},
  };
}

/** What a run was for is not lost because its name was typed again; one that did not finish gives way. */
async function refuseToReplace(folder: string, name: string): Promise<void> {
  const output = await outputOf(folder);
  if (output === null) return;
  throw new SaeLensError('USAGE', `${name} has finished: its SAE at ${output} would be replaced by that of a new run`, {
    hint: `Choose another --name, or remove it first: sae-lens-ts rm ${shellWord(name)}`,
    details: { output },
  });
}
