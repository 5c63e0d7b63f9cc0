import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import type { JobEvent } from '../worker/job.ts';

const count = z.int().nonnegative();
const counts = z.object({ documents: count, total: count.nullable(), tokens: count, sequences: count });

/** What the worker says while it pretokenizes (pyworker/runners/pretokenize.py), by the kind of the event. */
const schemas = {
  stage: z.object({ stage: z.string(), message: z.string(), done: count.nullable(), total: count.nullable() }),
  continued: counts,
  progress: counts,
  log: z.object({ level: z.string(), message: z.string() }),
};
type Schemas = typeof schemas;

/** Something that happened while a dataset is pretokenized. */
export type PretokenizeEvent =
  | { [K in keyof Schemas]: { kind: K } & z.output<Schemas[K]> }[keyof Schemas]
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
export function pretokenizeEvent({ kind, data }: JobEvent): PretokenizeEvent {
  const parsed = schemas[kind as keyof Schemas]?.safeParse(data);
  if (!parsed?.success) {
    throw new SaeLensError('PROTOCOL', `The worker sent a malformed "${kind}" event`, { cause: parsed?.error });
  }
  return { kind, ...parsed.data } as PretokenizeEvent;
}
