import { z } from 'zod';
import type { JobEvent } from '../worker/job.ts';
import { ANY_REQUEST, checkedEvent, count, type EventOf } from './worker-event.ts';

/** What a training worker says, by the kind of the event (pyworker/runners/training.py). */
const schemas = {
  ...ANY_REQUEST,
  started: z.object({
    d_in: count,
    d_sae: count,
    /** Of several SAEs by name; `d_sae` is their sum then. */
    saes: z.record(z.string(), z.object({ d_sae: count, kernels: z.string() })).nullable(),
    total_steps: count,
    device: z.string(),
    torch: z.string(),
    cpu: z.string(),
    threads: count,
    kernels: z.string(),
    n_eval_prompts: count,
    /** Of the shards of a cache that are left out. */
    n_skipped_tokens: count.default(0),
    /** Of the packages whose numbers reach the SAE. */
    versions: z.record(z.string(), z.string()),
    /** What torch computes with (pyworker/runners/provenance.py). */
    machine: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).nullable()),
    /** Commits of the hub that a model and a dataset were read at. */
    revisions: z.record(z.string(), z.string()),
  }),
  histogram: z.object({
    sae: z.string().nullable(),
    step: count,
    name: z.string(),
    counts: z.array(z.number()),
    edges: z.array(z.number()),
  }),
  checkpoint: z.object({
    purpose: z.enum(['scheduled', 'requested', 'recurring', 'final', 'output']),
    staging: z.string(),
    final: z.string(),
    /** Folders of several SAEs in there; none when it holds the files of one. */
    saes: z.array(z.string()),
    n_training_samples: count,
    /** Rows of metrics that were told before. */
    n_rows: count,
  }),
  credit: z.object({ count }),
  profile: z.object({
    n_steps: count,
    parts: z.array(z.object({ part: z.string(), seconds: z.number(), calls: count })),
    product_s: z.number(),
  }),
};
type Schemas = typeof schemas;

/** An event of a training worker, checked. */
export type TrainingEvent = EventOf<Schemas>;
/** The files of an SAE lie in a staging folder and wait to become a checkpoint or the output. */
export type StagedFolder = z.output<Schemas['checkpoint']>;
/** The model is loaded and every size is known. */
export type Started = z.output<Schemas['started']>;
/** How a training request ended. */
export const TrainResult = z.object({
  ended: z.enum(['done', 'stopped', 'data_ended']),
  n_training_steps: count,
  n_training_samples: count,
  l0: z.number(),
  num_dead_features: count,
});
export type TrainResult = z.output<typeof TrainResult>;

/** @throws SaeLensError PROTOCOL for what no training worker says */
export const trainingEvent = (event: JobEvent): TrainingEvent => checkedEvent(schemas, event);
