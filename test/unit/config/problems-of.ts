import { parseConfigObject } from '../../../src/config/index.ts';
import type { SaeLensError } from '../../../src/errors.ts';

/** What is wrong with a configuration, one line a problem: path, message, hint. */
export function problemsOf(value: unknown): string[] {
  try {
    parseConfigObject(value);
  } catch (error) {
    const { details } = error as SaeLensError;
    if (!Array.isArray(details.problems)) throw error;
    return details.problems.map(({ path, message, hint }) => [path, message, hint].filter(Boolean).join(' | '));
  }
  return [];
}
