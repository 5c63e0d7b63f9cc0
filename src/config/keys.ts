import type { z } from 'zod';
import { loggingShape } from './logging-schema.ts';
import { checkedShape, runnerShape } from './runner-schema.ts';
import { ARCHITECTURES, type Architecture, saeShapes } from './sae-schema.ts';

/** Options of the run itself: every top-level key but `sae` and `logger`. */
export const runnerOptions: Record<string, z.ZodType> = { ...runnerShape, ...checkedShape };
delete runnerOptions.sae;
delete runnerOptions.logger;

export const loggingOptions: Record<string, z.ZodType> = loggingShape;

/** Options of any architecture. */
export const saeOptions: Record<string, z.ZodType> = Object.assign({}, ...Object.values(saeShapes));

/** The architectures that have an option. */
export function architecturesWith(key: string): Architecture[] {
  return ARCHITECTURES.filter((architecture) => key in saeShapes[architecture]);
}

/** The schema of a canonical path, or undefined when no option has this path. */
export function schemaAt(path: readonly string[]): z.ZodType | undefined {
  const [first = '', second = ''] = path;
  if (first === 'sae') return path.length === 2 ? saeOptions[second] : undefined;
  if (first === 'logger') return path.length === 2 ? loggingOptions[second] : undefined;
  return path.length === 1 ? runnerOptions[first] : undefined;
}

/** Every path a user may write, canonical first: what a misspelled key is compared with. */
export function knownPaths(): string[] {
  return [
    ...Object.keys(runnerOptions),
    'architecture',
    'sae.architecture',
    'saes',
    ...Object.keys(saeOptions).flatMap((key) => [key, `sae.${key}`]),
    ...Object.keys(loggingOptions).flatMap((key) => [key, `logger.${key}`]),
  ];
}
