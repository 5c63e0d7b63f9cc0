import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFeaturesFolder } from '../artifacts/features-folder.ts';
import { EvalConfig, FeaturesConfig, type FeaturesOptions, stretchesOf } from '../config/index.ts';
import { dataScript } from '../features/data-file.ts';
import type { About } from '../features/format.ts';
import { FEATURES_FORMAT } from '../features/layout.ts';
import { exportNeuronpedia } from '../features/neuronpedia.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { callOptions, lentWorker, someLogger } from '../sae/call-options.ts';
import { VERSION } from '../version.ts';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';
import { type EvalSubject, evalSubjects, evaluatedFolder } from './eval-subjects.ts';
import { featuresPlaces } from './features-places.ts';
import { featuresPage } from './features-site.ts';
import { ANY_REQUEST, checkedEvent, count, type EventOf } from './worker-event.ts';

/** How a collection of features is embedded. */
export interface CollectFeaturesOptions {
  /** Where the folder goes; of several SAEs each below it. Default: `features` in the run, or `features-NAME` here. */
  output?: string | undefined;
  /** Of several SAEs the one of this name. Default: all. */
  sae?: string | undefined;
  /** `neuronpedia`: beside the pages a folder of that name, with the files that its importer takes. */
  export?: 'neuronpedia' | undefined;
  /** A worker of your own, which keeps its language model; without one the collection has its own and ends it. */
  worker?: Worker | undefined;
  /** A file of releases of your own, beside the well-known ones. */
  registry?: string | undefined;
  /** The command line, to be said in the folder. */
  command?: string | undefined;
  /** Where messages for people go. */
  log?: Logger | undefined;
  /** What is going on, and how far it is. */
  onEvent?: ((event: FeaturesEvent) => void) | undefined;
  /** Ends it in order: nothing is left of it then. */
  signal?: AbortSignal | undefined;
}

/** What a collection says meanwhile. */
export type FeaturesEvent = EventOf<typeof ANY_REQUEST>;

/** A folder of features that was made. */
export interface CollectedFeatures {
  /** `index.html` in it shows it. */
  readonly folder: string;
  /** What it is about, as it says itself. */
  readonly about: About;
}

const Found = z.object({
  architecture: z.string().nullable(),
  layer: count.nullable(),
  d_in: count,
  d_sae: count,
  n_tokens: count,
  n_excluded_tokens: count,
  n_sequences: count,
  n_latents: count,
  latents_per_chunk: count,
  n_dead: count,
  no_logits: z.string().nullable(),
  n_co_activation_tokens: count,
});
const Given = z.object({
  path: z.string().min(1),
  embedding: z.strictObject({
    output: z.string().min(1).optional(),
    sae: z.string().min(1).optional(),
    export: z.literal('neuronpedia').optional(),
    worker: lentWorker.optional(),
    registry: z.string().min(1).optional(),
    command: z.string().optional(),
    log: someLogger.optional(),
    onEvent: z.custom<CollectFeaturesOptions['onEvent']>((value) => typeof value === 'function').optional(),
    signal: z.instanceof(AbortSignal).optional(),
  } satisfies Record<keyof CollectFeaturesOptions, z.ZodType>),
});

/**
 * Collects what the latents of an SAE do, in one pass over text: how often and how strongly each is active, examples,
 * effect on the logits, neighbours. Of each SAE a folder of static files is made, which opens from disk.
 *
 * @param path a run folder, an SAE folder, `hub:user/repo/folder@revision`, or `release/id`
 * @returns one folder for each SAE that the path means
 * @throws SaeLensError USAGE, CONFIG_INVALID, SAE_INVALID, MODEL_…, DATASET_…, D_IN_MISMATCH, ENVIRONMENT_MISSING, STORAGE, HUB…
 *
 * @example
 * const [made] = await collectFeatures('runs/my-run', { n_tokens: 100_000, latents: '0-99' });
 * console.log(made.folder, made.about.n_dead);
 */
export async function collectFeatures(
  path: string,
  config: FeaturesConfig | FeaturesOptions = {},
  embedding: CollectFeaturesOptions = {},
): Promise<CollectedFeatures[]> {
  const given = callOptions('collect features', Given, { path, embedding }).embedding;
  const options = new FeaturesConfig(config);
  const { python } = await requireEnvironment();
  const subjects = await evalSubjects([path], asEval(options), {
    registry: given.registry,
    log: given.log,
    signal: given.signal,
  });
  const places = featuresPlaces(path, subjects, given);
  const worker = given.worker ?? (await Worker.start({ python }));
  try {
    const made: CollectedFeatures[] = [];
    for (const { subject, folder } of places) {
      const about = await writeFeaturesFolder(folder, (staging) =>
        collectInto(staging, subject, options, python, worker, given),
      );
      made.push({ folder, about });
    }
    return made;
  } finally {
    if (given.worker === undefined) await worker.shutdown();
  }
}

/** Which SAE, model and text are meant is found as for an evaluation. */
export function asEval(options: FeaturesConfig): EvalConfig {
  const { dataset_path, dataset_split, context_size, exclude_special_tokens, batch_size_prompts } = options;
  const { model_name, model_class_name, hook_name, device } = options;
  return new EvalConfig({
    ...{ dataset_path, dataset_split, context_size, exclude_special_tokens, batch_size_prompts },
    ...{ model_name, model_class_name, hook_name, device },
  });
}

async function collectInto(
  staging: string,
  subject: EvalSubject,
  options: FeaturesConfig,
  python: string,
  worker: Worker,
  { log, onEvent, signal, command, export: format }: CollectFeaturesOptions,
): Promise<About> {
  const { name, config } = subject;
  const located = await resolveBundled(config, { python, progress: (message) => log?.info(message) });
  const { dataset_split, context_size, exclude_special_tokens, batch_size_prompts } = subject.options;
  const dataset_path = located.dataset_path;
  const job = worker.request(
    'features',
    {
      config: { ...located, context_size },
      features: { ...options, dataset_path, dataset_split, context_size, exclude_special_tokens, batch_size_prompts },
      latents: stretchesOf(options.latents),
      sae: evaluatedFolder(subject),
      folder: join(staging, 'data'),
    },
    {
      onEvent: (event) => {
        const checked = checkedEvent(ANY_REQUEST, event);
        if (checked.kind === 'log') log?.[checked.level](checked.message);
        onEvent?.(checked);
      },
      ...(signal === undefined ? {} : { signal }),
    },
  );
  const found = Found.parse((await job.result).value);
  const about: About = {
    format: FEATURES_FORMAT,
    name,
    model_name: config.model_name,
    hook_name: config.hook_name,
    hook_head_index: config.hook_head_index,
    dataset_path: config.dataset_path,
    text: subject.text === 'named' ? 'named' : 'training',
    context_size,
    ...found,
    seed: options.seed,
    created: new Date().toISOString(),
    version: VERSION,
    command: command ?? null,
  };
  await writeFile(join(staging, 'data', 'about.js'), dataScript('about', withoutSecrets(about)));
  await cp(featuresPage(), staging, { recursive: true });
  if (format === 'neuronpedia') await exportNeuronpedia(staging, join(staging, 'neuronpedia'));
  return about;
}
