import { z } from 'zod';
import type { JobEvent } from '../worker/job.ts';
import { ANY_REQUEST, checkedEvent, count, type EventOf } from './worker-event.ts';

/** What a caching worker says, by the kind of the event (pyworker/runners/cache_activations.py). */
const schemas = {
  ...ANY_REQUEST,
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
};

/** An event of a caching worker, checked. */
export type CacheEvent = EventOf<typeof schemas>;

/** How a caching request ended. */
export const CacheEnd = z.object({
  ended: z.enum(['done', 'stopped']),
  n_sequences: count,
  n_tokens: count,
  shards_done: count,
  bytes: count,
});

/** @throws SaeLensError PROTOCOL for what no caching worker says */
export const cacheEvent = (event: JobEvent): CacheEvent => checkedEvent(schemas, event);
