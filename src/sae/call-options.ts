import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { Worker } from '../worker/worker.ts';

/** A worker lent to a call. */
export const lentWorker = z.custom<Worker>((value) => value instanceof Worker, 'is not a worker of startWorker()');

/** Where a call says what it does. */
export const someLogger = z.custom<Logger>(
  (value) =>
    ['debug', 'info', 'warn', 'error'].every((level) => typeof (value as Logger)?.[level as 'info'] === 'function'),
  'is not a logger: it has debug, info, warn and error, as that of createLogger()',
);

/**
 * The options of a public function, checked: TypeScript's types do not reach a notebook of plain JavaScript.
 *
 * @param action what cannot be done with wrong ones, `load an SAE`
 * @throws SaeLensError USAGE with all problems at once
 */
export function callOptions<Schema extends z.ZodType>(
  action: string,
  schema: Schema,
  given: unknown,
): z.output<Schema> {
  const checked = schema.safeParse(given);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map(({ path, message }) => [...path, message].join(': '));
  throw new SaeLensError('USAGE', `Cannot ${action}: ${problems.join('; ')}`);
}
