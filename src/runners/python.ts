import { requireEnvironment } from '../worker/environment.ts';
import { PythonSession } from '../worker/pythonia.ts';

/**
 * The Python of the managed environment, in a process of its own, to look around in from a notebook. Not for arrays of
 * any size: those cross as text. End it with `close()`, or declare it with `await using`; an open one keeps Node alive.
 *
 * @example
 * const py = await python();
 * const tokenizers = await py.import('tokenizers');
 * @throws SaeLensError ENVIRONMENT_MISSING, ENVIRONMENT_BROKEN, USAGE under Deno
 */
export async function python(): Promise<PythonSession> {
  return PythonSession.start({ python: (await requireEnvironment()).python });
}
