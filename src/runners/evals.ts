import { z } from 'zod';
import { readSaeFolder } from '../artifacts/sae-folder.ts';
import { COMPUTE_FLAGS, EVAL_METRICS, EvalConfig, type EvalOptions, metricsNamed } from '../config/index.ts';
import type { Logger } from '../log.ts';
import { callOptions, lentWorker, someLogger } from '../sae/call-options.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { float32Values, type JobResult } from '../worker/job.ts';
import { Worker } from '../worker/worker.ts';
import {
  type EvalSubject,
  type EvalText,
  evalSubjects,
  evaluatedFolder,
  type FilledEvalConfig,
} from './eval-subjects.ts';
import { ANY_REQUEST, checkedEvent, type EventOf } from './worker-event.ts';

/** How an evaluation is embedded. */
export interface RunEvalsOptions {
  /** A worker of your own, which keeps its language model; without one the evaluation has its own and ends it. */
  worker?: Worker | undefined;
  /** A file of releases of your own, beside the well-known ones. */
  registry?: string | undefined;
  /** Where messages for people go. */
  log?: Logger | undefined;
  /** What is going on, and how far it is. */
  onEvent?: ((event: EvalEvent) => void) | undefined;
  /** Ends it in order. */
  signal?: AbortSignal | undefined;
}

/** What an evaluation says meanwhile. */
export type EvalEvent = EventOf<typeof ANY_REQUEST>;

/** What was found of one SAE. */
export interface EvalResult {
  /** Of the run, or the reference as it was given. */
  readonly name: string;
  readonly folder: string;
  readonly model_name: string;
  readonly hook_name: string;
  readonly architecture: string | null;
  readonly d_in: number | null;
  readonly d_sae: number | null;
  /** Where the text came from. */
  readonly text: EvalText;
  readonly dataset_path: string;
  /** Sequences that were read. */
  readonly n_prompts: number;
  readonly options: FilledEvalConfig;
  /** `group/metric` → value, by SAELens' names; null where it is not defined. */
  readonly metrics: Readonly<Record<string, number | null>>;
  /** `group/metric` → its 95 % interval, by the jackknife over batches; null for fewer than two. */
  readonly intervals: Readonly<Record<string, readonly [low: number, high: number] | null>>;
  /** Name → one value for each latent, where they are computed. */
  readonly featurewise: Readonly<Record<string, Float32Array>>;
  /** cfg.json, where the SAE is of SAELens' format. */
  readonly cfg: Readonly<Record<string, unknown>> | null;
}

const number = z.number().nullable();
const Evaluated = z.object({
  n_prompts: z.int(),
  saes: z.array(
    z.object({
      metrics: z.record(z.string(), number),
      intervals: z.record(z.string(), z.tuple([number, number])),
    }),
  ),
});
const Given = z.object({
  paths: z.union([
    z
      .string()
      .min(1)
      .transform((path) => [path]),
    z.array(z.string().min(1)).min(1),
  ]),
  embedding: z.strictObject({
    worker: lentWorker.optional(),
    registry: z.string().min(1).optional(),
    log: someLogger.optional(),
    onEvent: z.custom<RunEvalsOptions['onEvent']>((value) => typeof value === 'function').optional(),
    signal: z.instanceof(AbortSignal).optional(),
  } satisfies Record<keyof RunEvalsOptions, z.ZodType>),
});

/**
 * Evaluates SAEs in the language model they were made for, by SAELens' metrics and names. SAEs of one model, whatever
 * their hooks, share its untouched pass. Each is evaluated as it is used: a BatchTopK SAE by its threshold.
 *
 * @param paths run folders, SAE folders, `hub:user/repo/folder@revision`, or `release/id`
 * @throws SaeLensError CONFIG_INVALID, SAE_INVALID, MODEL_…, DATASET_…, D_IN_MISMATCH, ENVIRONMENT_MISSING, HUB…
 *
 * @example
 * const [found] = await runEvals('runs/my-run', { metrics: ['sparsity', 'ce_loss_score'] });
 * console.log(found.metrics['sparsity/l0'], found.intervals['sparsity/l0']);
 */
export async function runEvals(
  paths: string | readonly string[],
  config: EvalConfig | EvalOptions = {},
  embedding: RunEvalsOptions = {},
): Promise<EvalResult[]> {
  const given = callOptions('evaluate', Given, { paths, embedding });
  const options = withFlags(new EvalConfig(config));
  const { registry, log, onEvent, signal } = given.embedding;
  const { python } = await requireEnvironment();
  const subjects = await evalSubjects(given.paths, options, { registry, log, signal });
  const worker = given.embedding.worker ?? (await Worker.start({ python }));
  try {
    const found = new Map<EvalSubject, EvalResult>();
    for (const group of groupsOf(subjects)) {
      const located = await resolveBundled(group[0]?.config as EvalSubject['config'], {
        python,
        progress: (message) => log?.info(message),
      });
      const job = worker.request('evaluate', requestOf(group, located), {
        onEvent: (event) => {
          const checked = checkedEvent(ANY_REQUEST, event);
          if (checked.kind === 'log') log?.[checked.level](checked.message);
          onEvent?.(checked);
        },
        ...(signal === undefined ? {} : { signal }),
      });
      for (const [subject, result] of await resultsOf(group, await job.result)) found.set(subject, result);
    }
    return subjects.map((subject) => found.get(subject) as EvalResult);
  } finally {
    if (given.embedding.worker === undefined) await worker.shutdown();
  }
}

/** What `metrics` asks for is computed, and nothing else. */
function withFlags(options: EvalConfig): EvalConfig {
  const { metrics } = options;
  if (metrics === null) return options;
  const wanted = new Set(metrics.flatMap(metricsNamed).map(({ flag }) => flag));
  return { ...options, ...Object.fromEntries(COMPUTE_FLAGS.map((flag) => [flag, wanted.has(flag)])) };
}

/** Whose model, text and options are the same: they are evaluated together. */
function groupsOf(subjects: readonly EvalSubject[]): EvalSubject[][] {
  const groups = new Map<string, EvalSubject[]>();
  for (const subject of subjects) {
    const { config, text, options } = subject;
    const shared = SHARED.map((key) => config[key]);
    const heldOut = text === 'held_out' ? HELD_OUT.map((key) => config[key]) : [];
    const key = JSON.stringify([text, options, shared, heldOut]);
    groups.set(key, [...(groups.get(key) ?? []), subject]);
  }
  return [...groups.values()];
}

/** What of a run's configuration decides the language model and how text becomes tokens. */
const SHARED = [
  'model_name',
  'model_class_name',
  'model_kwargs',
  'model_from_pretrained_kwargs',
  'autocast_lm',
  'dataset_path',
  'dataset_name',
  'dataset_column',
  'is_dataset_tokenized',
  'use_chat_formatting',
  'streaming',
  'prepend_bos',
  'disable_concat_sequences',
  'sequence_separator_token',
] as const;
/** What decides which sequences a run kept back. */
const HELD_OUT = [
  'dataset_split',
  'context_size',
  'eval_dataset_path',
  'eval_dataset_split',
  'n_eval_batches',
  'eval_batch_size_prompts',
] as const;

function requestOf(group: readonly EvalSubject[], located: EvalSubject['config']): Record<string, unknown> {
  const [{ text, options }] = group as [EvalSubject];
  const { context_size, dataset_path } = { ...options, dataset_path: located.dataset_path };
  return {
    config: text === 'held_out' ? located : { ...located, context_size },
    eval: { ...options, dataset_path },
    text: text === 'held_out' ? 'held_out' : 'named',
    saes: group.map(evaluatedFolder),
  };
}

async function resultsOf(
  group: readonly EvalSubject[],
  { value, arrays }: JobResult,
): Promise<[EvalSubject, EvalResult][]> {
  const { n_prompts, saes } = Evaluated.parse(value);
  const results: [EvalSubject, EvalResult][] = [];
  for (const [n, subject] of group.entries()) {
    const { metrics = {}, intervals = {} } = saes[n] ?? {};
    const { name, folder, config, text, options } = subject;
    const mine = arrays.filter((array) => array.name.startsWith(`${n}/`));
    const sae = await readSaeFolder(folder).catch(() => null);
    const isWanted = wantedBy(options.metrics);
    results.push([
      subject,
      {
        name,
        folder,
        model_name: config.model_name,
        hook_name: config.hook_name,
        architecture: sae?.architecture ?? null,
        d_in: sae?.d_in ?? null,
        d_sae: sae?.d_sae ?? null,
        text,
        dataset_path: config.dataset_path,
        n_prompts,
        options,
        metrics: Object.fromEntries(inOrder(metrics).filter(([key]) => isWanted(key))),
        intervals: Object.fromEntries(
          inOrder(intervals)
            .filter(([key]) => isWanted(key))
            .map(([key, [low, high]]) => [key, low === null || high === null ? null : [low, high]]),
        ),
        featurewise: Object.fromEntries(mine.map((array) => [array.name.slice(`${n}/`.length), float32Values(array)])),
        cfg: sae?.cfg ?? null,
      },
    ]);
  }
  return results;
}

function wantedBy(metrics: readonly string[] | null): (key: string) => boolean {
  if (metrics === null) return () => true;
  const wanted = new Set(metrics.flatMap(metricsNamed).map(({ group, name }) => `${group}/${name}`));
  return (key) => wanted.has(key) || key.startsWith('token_stats/');
}

/** As they are shown; what has no place of its own comes last. */
function inOrder<T>(values: Readonly<Record<string, T>>): [string, T][] {
  const places = new Map(EVAL_METRICS.map(({ group, name }, place) => [`${group}/${name}`, place]));
  const place = (key: string): number => places.get(key) ?? places.size;
  return Object.entries(values).sort(([a], [b]) => place(a) - place(b));
}
