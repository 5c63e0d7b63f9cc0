import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import type { LogLevel } from '../log.ts';
import type { JobEvent } from '../worker/job.ts';

/** How many of something, on the border. */
export const count = z.int().nonnegative();

/** What every request may say (pyworker/session.py), by the kind of the event. */
export const ANY_REQUEST = {
  stage: z.object({ stage: z.string(), message: z.string(), done: count.nullable(), total: count.nullable() }),
  log: z.object({ level: z.string().transform(logLevel), message: z.string() }),
};

/** An event as its schema has it, with its kind. */
export type EventOf<S extends Record<string, z.ZodType>> = {
  [K in keyof S]: { kind: K } & z.output<S[K]>;
}[keyof S];

/**
 * What a worker said, held against what a worker at this work may say.
 *
 * @throws SaeLensError PROTOCOL for anything else
 */
export function checkedEvent<S extends Record<string, z.ZodType>>(schemas: S, { kind, data }: JobEvent): EventOf<S> {
  // A kind may be called `constructor`.
  const parsed = Object.hasOwn(schemas, kind) ? schemas[kind]?.safeParse(data) : undefined;
  if (!parsed?.success) {
    throw new SaeLensError('PROTOCOL', `The worker sent a malformed "${kind}" event`, { cause: parsed?.error });
  }
  return { kind, ...(parsed.data as object) } as EventOf<S>;
}

/** Python's names of levels are not ours. */
function logLevel(level: string): LogLevel {
  if (level === 'warning') return 'warn';
  if (level === 'critical') return 'error';
  return level === 'debug' || level === 'error' || level === 'warn' ? level : 'info';
}
