import { SaeLensError } from '../errors.ts';
import { namedSaes, type UploadOptions, type UploadResult, uploadSaesToHuggingface } from './upload.ts';

/**
 * Uploads with a terminal in front: Ctrl-C and SIGTERM end it in order, so that no worker and no file of it stays.
 *
 * @param words `FOLDER` or `FOLDER=SAE_ID` each
 * @throws SaeLensError what the upload failed with; TERMINATED after SIGTERM
 */
export async function uploadInTerminal(words: readonly string[], options: UploadOptions): Promise<UploadResult> {
  const stop = new AbortController();
  const end = (signal: NodeJS.Signals): void => stop.abort(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.once(signal, end);
  try {
    return await uploadSaesToHuggingface(await namedSaes(words), { ...options, signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted || stop.signal.reason === 'SIGINT' || !(error instanceof SaeLensError)) throw error;
    throw new SaeLensError('TERMINATED', error.message, { hint: error.hint, cause: error });
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}
