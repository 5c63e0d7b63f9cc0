import { z } from 'zod';
import type { Provenance, ResolvedConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { callOptions, lentWorker, someLogger } from '../sae/call-options.ts';
import type { Sink } from '../sinks/sink.ts';
import type { FedActivations } from '../stream/activation-feed.ts';
import type { Worker } from '../worker/worker.ts';

/** How a run is embedded. */
export interface TrainingOptions {
  /** A worker of your own, which stays loaded after the run; without one the run has its own and ends it. */
  worker?: Worker;
  /** Folder of run folders; default `runs`. */
  runsFolder?: string;
  /** Name of the run and its folder; default: day, model, hook, architecture and two words. */
  name?: string;
  /** Besides metrics.jsonl and W&B. */
  sinks?: readonly Sink[];
  /** Where messages for people go; default: only the run's log.jsonl. */
  log?: Logger;
  /** Where each option came from, for config.yaml. */
  provenance?: ReadonlyMap<string, Provenance>;
  /** The command line, for run.json. */
  command?: readonly string[];
  /**
   * Activations of your own to train on, in place of a language model's: an engine, a vision model, a file. They are
   * asked for as training takes them, at most a few batches ahead; when they end, training ends with a complete SAE.
   * `model_name`, `dataset_path` and `hook_name` are then only written down, and nothing is held out for evaluations.
   *
   * @example
   * async function* activations() {
   *   for await (const image of images) yield { rows: 197, dIn: 768, activation: await vit(image) };
   * }
   * const run = await new SAETrainingRunner(cfg, { activations: activations() }).start();
   */
  activations?: AsyncIterable<FedActivations> | Iterable<FedActivations>;
}

/** How an interrupted run is embedded: it has its name, its configuration and its data already. */
export type ResumeOptions = Pick<TrainingOptions, 'worker' | 'runsFolder' | 'sinks' | 'log'> & {
  /** The checkpoint to go on from: its number of samples or its folder; default: the newest that is whole. */
  from?: string;
};

const Options = z.strictObject({
  worker: lentWorker.optional(),
  runsFolder: z.string().min(1).optional(),
  name: z.string().optional(),
  sinks: z.array(z.custom<Sink>(isSink, 'is not a sink: it has a name, consume and close')).optional(),
  log: someLogger.optional(),
  provenance: z.instanceof(Map).optional(),
  command: z.array(z.string()).optional(),
  activations: z.custom<Iterable<FedActivations>>(isIterable, 'must be iterable, with for await or for').optional(),
} satisfies Record<keyof TrainingOptions, z.ZodType>);

function isSink(value: unknown): boolean {
  const { name, consume, close } = Object(value) as Partial<Sink>;
  return typeof name === 'string' && typeof consume === 'function' && typeof close === 'function';
}

function isIterable(value: unknown): boolean {
  return [Symbol.asyncIterator, Symbol.iterator].some((key) => typeof Object(value)[key] === 'function');
}

/** @throws SaeLensError USAGE with all problems at once */
export function checkOptions(options: TrainingOptions): void {
  callOptions('train', z.object({ options: Options }), { options });
}

/**
 * A run that is fed has no activations besides.
 *
 * @throws SaeLensError USAGE
 */
export function requireOneSource({ use_cached_activations, resume_from_checkpoint }: ResolvedConfig): void {
  if (use_cached_activations) {
    throw new SaeLensError(
      'USAGE',
      'activations are given, and use_cached_activations is true: they come from one place',
      { hint: 'leave one of them out' },
    );
  }
  if (resume_from_checkpoint !== null) {
    throw new SaeLensError('USAGE', 'activations are given, and resume_from_checkpoint: those before it are gone', {
      hint: 'begin with its weights instead: from_pretrained_path',
    });
  }
}
