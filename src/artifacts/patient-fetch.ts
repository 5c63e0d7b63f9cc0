import { setTimeout } from 'node:timers/promises';

/** Also the first try counts. */
const TRIES = 5;
const FIRST_WAIT_MS = 250;
/** A server that asks for more patience than this is not waited for. */
const LONGEST_WAIT_MS = 60_000;
/** Too many requests, and a server in trouble: the same question may be answered a moment later. */
const PASSING = new Set([429, 500, 502, 503, 504]);
/** So much of what the server says goes into a message. */
const WORDS = 300;

/** How a server refused, as its last answer said. */
export interface Refusal {
  readonly status: number;
  /** The hub's own word for it (X-Error-Code), where it gives one. */
  readonly code: string | null;
  readonly requestId: string | null;
  readonly tries: number;
  /** The sentence of its answer, where it has one. */
  readonly said: string | null;
}

export interface Patience {
  /** A connection that breaks is tried again too: only for what may be asked twice. */
  repeatCut: boolean;
  /** Ends a wait. */
  signal: AbortSignal | undefined;
  /** Before every wait: the status of the answer, or how the connection broke. */
  onWait: (reason: number | string, waitMs: number) => void;
  /** The answer that is handed on is a refusal. */
  onRefusal: (refusal: Refusal) => void;
}

/**
 * `fetch` that asks again when the refusal may pass: after the time the server names (Retry-After, RateLimit), else
 * after a growing, jittered one. Five tries at most; the last answer is handed on as it is.
 */
export function patientFetch(fetch: typeof globalThis.fetch, patience: Patience): typeof globalThis.fetch {
  return async (input, init) => {
    for (let tries = 1; ; tries++) {
      const ownWaitMs = FIRST_WAIT_MS * 2 ** (tries - 1) * (0.5 + Math.random() / 2);
      const wait = async (reason: number | string, waitMs: number): Promise<void> => {
        patience.onWait(reason, waitMs);
        await setTimeout(waitMs, undefined, { signal: patience.signal });
      };
      let response: Response;
      try {
        response = await fetch(input, init);
      } catch (error) {
        if (!patience.repeatCut || patience.signal?.aborted || tries === TRIES) throw error;
        const { message, cause } = error as Error;
        await wait(cause instanceof Error ? cause.message : message, ownWaitMs);
        continue;
      }
      if (response.ok) return response;
      const { status, headers } = response;
      const waitMs = askedWaitMs(headers) ?? ownWaitMs;
      if (tries === TRIES || !PASSING.has(status) || waitMs > LONGEST_WAIT_MS) {
        const [code, requestId] = [headers.get('x-error-code'), headers.get('x-request-id')];
        patience.onRefusal({ status, code, requestId, tries, said: await sentenceOf(response.clone()) });
        return response;
      }
      await response.body?.cancel();
      await wait(status, waitMs);
    }
  };
}

/** `{"error": "…"}`, as the hub explains itself. */
async function sentenceOf(response: Response): Promise<string | null> {
  try {
    const { error } = (await response.json()) as { error?: unknown };
    return typeof error === 'string' && error !== '' ? error.slice(0, WORDS) : null;
  } catch {
    return null;
  }
}

/** `Retry-After: 7`, `Retry-After: <date>`, or the hub's `RateLimit: "api";r=0;t=42`. */
function askedWaitMs(headers: Headers): number | null {
  const after = headers.get('retry-after') ?? /(?:^|;)\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  if (!after) return null;
  const ms = /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
