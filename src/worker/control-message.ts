import { SaeLensError } from '../errors.ts';
import { FromWorker } from '../protocol/messages.ts';

/** How much of a broken message an error shows. */
const SHOWN_BYTES = 200;

/**
 * A control message of the worker.
 *
 * @throws SaeLensError PROTOCOL for anything else
 */
export function readControlMessage(bytes: Buffer): FromWorker {
  try {
    return FromWorker.parse(JSON.parse(bytes.toString()));
  } catch (cause) {
    const text = bytes.subarray(0, SHOWN_BYTES).toString();
    throw new SaeLensError('PROTOCOL', `The worker sent a malformed control message: ${text}`, { cause });
  }
}
