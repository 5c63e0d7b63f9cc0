import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import type { JobEvent } from '../worker/job.ts';

const count = z.int().nonnegative();

/** What a training worker says, by the kind of the event (pyworker/runners/training.py). */
const schemas = {
  stage: z.object({
    stage: z.string(),
    message: z.string(),
    done: count.nullable(),
    total: count.nullable(),
  }),
  started: z.object({
    d_in: count,
    d_sae: count,
    total_steps: count,
    device: z.string(),
    torch: z.string(),
    cpu: z.string(),
    threads: count,
    kernels: z.string(),
    n_eval_prompts: count,
  }),
  histogram: z.object({ step: count, name: z.string(), counts: z.array(z.number()), edges: z.array(z.number()) }),
  checkpoint: z.object({
    purpose: z.enum(['scheduled', 'requested', 'final', 'output']),
    staging: z.string(),
    final: z.string(),
    n_training_samples: count,
  }),
  log: z.object({ level: z.string(), message: z.string() }),
  credit: z.object({ count }),
};
type Schemas = typeof schemas;

/** An event of a training worker, checked. */
export type TrainingEvent = { [K in keyof Schemas]: { kind: K } & z.output<Schemas[K]> }[keyof Schemas];
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
export function trainingEvent({ kind, data }: JobEvent): TrainingEvent {
  const schema = schemas[kind as keyof Schemas];
  const parsed = schema?.safeParse(data);
  if (!parsed?.success) {
    throw new SaeLensError('PROTOCOL', `The worker sent a malformed "${kind}" event`, { cause: parsed?.error });
  }
  return { kind, ...parsed.data } as TrainingEvent;
}
