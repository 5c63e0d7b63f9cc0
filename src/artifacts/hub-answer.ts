import { type ErrorCode, SaeLensError, type SaeLensErrorOptions } from '../errors.ts';
import { redact } from '../log.ts';
import { type HubRepo, pageOf } from './hub-access.ts';
import { patientFetch, type Refusal } from './patient-fetch.ts';

/** For an answer that carries facts, not files. */
const ANSWER_DEADLINE_MS = 30_000;

/** How a question is asked. */
export interface Asking {
  /** Sends one request; default: `fetch` with a deadline. */
  send?: typeof globalThis.fetch;
  /** A cut connection is tried again too: for questions that may be put twice. */
  repeatCut?: boolean;
  /** A refusal the caller knows what to do with: what it returns is the answer, undefined leaves it an error. */
  accept?: (refusal: Refusal) => unknown;
}

/** A question that is asked patiently; its failure is explained by what the hub answered last. */
export async function ask<T>(
  repo: HubRepo,
  question: (fetch: typeof globalThis.fetch) => Promise<T>,
  { send = sendWithDeadline, repeatCut = false, accept }: Asking = {},
): Promise<T> {
  if (repo.signal?.aborted) throw interrupted(repo, repo.signal.reason);
  let refusal: Refusal | null = null;
  const patient = patientFetch(send, {
    repeatCut,
    signal: repo.signal,
    onWait: (reason, ms) =>
      repo.log?.warn(
        `${repo.hubUrl} ${typeof reason === 'number' ? `answered ${reason}` : `was cut off (${reason})`}; waiting ${(ms / 1000).toFixed(1)} s`,
      ),
    onRefusal: (last) => {
      refusal = last;
    },
  });
  try {
    return await question(patient);
  } catch (error) {
    if (error instanceof SaeLensError) throw error;
    if (repo.signal?.aborted) throw interrupted(repo, error);
    if (refusal === null) throw unreachable(repo, error);
    const accepted = accept?.(refusal);
    if (accepted !== undefined) return accepted as T;
    throw refused(repo, refusal);
  }
}

const sendWithDeadline: typeof globalThis.fetch = (input, init) =>
  fetch(input, { ...init, signal: init?.signal ?? AbortSignal.timeout(ANSWER_DEADLINE_MS) });

/** Every message about a repository begins with what was tried. */
export function hubError(
  repo: HubRepo,
  code: ErrorCode,
  reason: string,
  options: SaeLensErrorOptions = {},
): SaeLensError {
  return new SaeLensError(code, redact(`Cannot ${repo.action} "${repo.name}": ${reason}`), options);
}

function interrupted(repo: HubRepo, cause: unknown): SaeLensError {
  return hubError(repo, 'INTERRUPTED', 'it was interrupted; nothing half is left', {
    cause,
    hint: 'run the same command again: large files that have arrived are not sent or fetched again',
  });
}

function unreachable(repo: HubRepo, error: unknown): SaeLensError {
  // The hub's client ends a stream with a text for an error.
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const { message: deeper, code } = (cause ?? {}) as NodeJS.ErrnoException;
  const reason = [message, deeper || code].filter(Boolean).join(': ');
  return hubError(repo, 'HUB_UNREACHABLE', `${repo.hubUrl} did not answer as a hub does (${reason})`, {
    cause: error,
    hint: 'check the network and HF_ENDPOINT with `sae-lens-ts doctor --online`; with HF_HUB_OFFLINE=1 the cache alone is used',
  });
}

/** Each cause its own code and message (faults H1). Without a token the hub answers 401 for what does not exist. */
function refused(repo: HubRepo, { status, code, requestId, tries, said }: Refusal): SaeLensError {
  const page = pageOf(repo);
  const tried = repo.token === null ? 'no token was sent' : `the token of ${repo.token.from} was sent`;
  const because = (error: ErrorCode, reason: string, hint: string): SaeLensError =>
    hubError(repo, error, reason, { hint, details: { status, request_id: requestId } });
  const id = requestId === null ? '' : `, request ${requestId}`;
  const words = said === null ? '' : `: ${said}`;
  if (code === 'GatedRepo' || (status === 403 && repo.action !== 'upload to')) {
    return because(
      'HUB_FORBIDDEN',
      `access is restricted (${status}, ${tried})`,
      `ask for access at ${page} and use a token of that account`,
    );
  }
  if (status === 403) {
    return because(
      'HUB_FORBIDDEN',
      `the token may not write there (403, ${tried})${words}`,
      'make a token with write access to it at https://huggingface.co/settings/tokens, then `hf auth login`',
    );
  }
  if (status === 401) {
    return because(
      'HUB_TOKEN',
      `${repo.token === null ? 'it does not exist or is private' : 'the token was refused'} (401, ${tried})`,
      'check the name; for a private repository set HF_TOKEN or run `hf auth login`',
    );
  }
  if (status === 404 && code === 'RevisionNotFound') {
    const reason = `it has no revision "${repo.revision}" (404)`;
    return because('HUB_NOT_FOUND', reason, `see the branches and tags at ${page}/tree/main`);
  }
  if (status === 404) {
    return because('HUB_NOT_FOUND', `there is no such repository (404, ${tried})`, `check the name at ${page}`);
  }
  if (status === 409 || status === 412) {
    const reason = `somebody else changed it at the same time (${status}${id})${words}`;
    return because('HUB_CONFLICT', reason, 'run the same command again: it begins from what is there now');
  }
  const asked = `the hub answered ${status} after ${tries} ${tries === 1 ? 'try' : 'tries'}${id}`;
  if (status === 429) {
    return because(
      'HUB_BUSY',
      asked,
      'it limits how often one may ask: try again in some minutes; HF_TOKEN raises the limit',
    );
  }
  if (status >= 500) return because('HUB_UNREACHABLE', asked, 'try again later; https://status.huggingface.co');
  return because('HUB', `${asked}${words}`, `see ${page}`);
}
