import { z } from 'zod';
import type { JobEvent } from '../worker/job.ts';
import { ANY_REQUEST, checkedEvent, count, type EventOf } from './worker-event.ts';

const counts = z.object({ documents: count, total: count.nullable(), tokens: count, sequences: count });

/** What the worker says while it pretokenizes (pyworker/runners/pretokenize.py), by the kind of the event. */
const schemas = {
  ...ANY_REQUEST,
  continued: counts,
  progress: counts,
};

/** Something that happened while a dataset is pretokenized. */
export type PretokenizeEvent =
  | EventOf<typeof schemas>
  /** Files go to the hub. */
  | { kind: 'upload'; path: string; sent_bytes: number; total_bytes: number };

/** The worker's result. */
export const Pretokenized = z.object({
  ended: z.enum(['done', 'stopped', 'present']),
  path: z.string(),
  n_continued: count,
  n_documents: count,
  n_short_documents: count,
  n_tokens: count,
  n_tokens_left_over: count,
  n_sequences: count,
  n_bytes: count,
  n_shards: count,
  seed: count.nullable(),
});
export type Pretokenized = z.output<typeof Pretokenized>;

/** @throws SaeLensError PROTOCOL for what no worker says while it pretokenizes */
export const pretokenizeEvent = (event: JobEvent): PretokenizeEvent => checkedEvent(schemas, event);
