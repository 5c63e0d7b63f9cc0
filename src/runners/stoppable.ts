import { SaeLensError } from '../errors.ts';
import { onStopSignal } from './stop-on-signal.ts';

/**
 * Work with a terminal in front: Ctrl-C and SIGTERM end it in order, so that no process and no file of it stays; the
 * second signal ends it at once.
 *
 * @throws SaeLensError what the work failed with; INTERRUPTED or TERMINATED when it was ended
 */
export async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const close = onStopSignal((signal) => {
    close();
    stop.abort(signal);
  });
  try {
    return await work(stop.signal);
  } catch (error) {
    const isTerminated = stop.signal.aborted && stop.signal.reason !== 'SIGINT';
    if (!isTerminated || !(error instanceof SaeLensError) || error.code !== 'INTERRUPTED') throw error;
    throw new SaeLensError('TERMINATED', error.message, { hint: error.hint, cause: error });
  } finally {
    close();
  }
}
