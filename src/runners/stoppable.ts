import { SaeLensError } from '../errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Work with a terminal in front: Ctrl-C and SIGTERM end it in order, so that no process and no file of it stays; the
 * second signal ends it at once.
 *
 * @throws SaeLensError what the work failed with; INTERRUPTED or TERMINATED when it was ended
 */
export async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const end = (signal: NodeJS.Signals): void => {
    for (const one of SIGNALS) process.off(one, end);
    stop.abort(signal);
  };
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    return await work(stop.signal);
  } catch (error) {
    const isTerminated = stop.signal.aborted && stop.signal.reason !== 'SIGINT';
    if (!isTerminated || !(error instanceof SaeLensError) || error.code !== 'INTERRUPTED') throw error;
    throw new SaeLensError('TERMINATED', error.message, { hint: error.hint, cause: error });
  } finally {
    for (const signal of SIGNALS) process.off(signal, end);
  }
}
