import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import type { JobEvent } from '../worker/job.ts';

const count = z.int().nonnegative();

/** What a caching worker says, by the kind of the event (pyworker/runners/cache_activations.py). */
const schemas = {
  stage: z.object({ stage: z.string(), message: z.string(), done: count.nullable(), total: count.nullable() }),
  started: z.object({
    d_in: z.record(z.string(), count),
    context: count,
    n_sequences: count,
    n_tokens: count,
    n_shards: count,
    shards_done: count,
    total_bytes: count,
  }),
  shard: z.object({ number: count, file: z.string(), rows: count, bytes: count, sha256: z.string() }),
  log: z.object({ level: z.enum(['debug', 'info', 'warning', 'error']), message: z.string() }),
};
type Schemas = typeof schemas;

/** An event of a caching worker, checked. */
export type CacheEvent = { [K in keyof Schemas]: { kind: K } & z.output<Schemas[K]> }[keyof Schemas];

/** How a caching request ended. */
export const CacheEnd = z.object({
  ended: z.enum(['done', 'stopped']),
  n_sequences: count,
  n_tokens: count,
  shards_done: count,
  bytes: count,
});

/** @throws SaeLensError PROTOCOL for what no caching worker says */
export function cacheEvent({ kind, data }: JobEvent): CacheEvent {
  const parsed = schemas[kind as keyof Schemas]?.safeParse(data);
  if (!parsed?.success) {
    throw new SaeLensError('PROTOCOL', `The worker sent a malformed "${kind}" event`, { cause: parsed?.error });
  }
  return { kind, ...parsed.data } as CacheEvent;
}
