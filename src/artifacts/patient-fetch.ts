/** Also the first try counts. */
const TRIES = 5;
const FIRST_WAIT_MS = 250;
/** A server that asks for more patience than this is not waited for. */
const LONGEST_WAIT_MS = 60_000;
/** Too many requests, and a server in trouble: the same question may be answered a moment later. */
const PASSING = new Set([429, 500, 502, 503, 504]);

/** How a server refused, as its last answer said. */
export interface Refusal {
  readonly status: number;
  /** The hub's own word for it (X-Error-Code), where it gives one. */
  readonly code: string | null;
  readonly requestId: string | null;
  readonly tries: number;
}

export interface Patience {
  /** Before every wait. */
  onWait: (status: number, waitMs: number) => void;
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
      const response = await fetch(input, init);
      if (response.ok) return response;
      const { status, headers } = response;
      const waitMs = askedWaitMs(headers) ?? FIRST_WAIT_MS * 2 ** (tries - 1) * (0.5 + Math.random() / 2);
      if (tries === TRIES || !PASSING.has(status) || waitMs > LONGEST_WAIT_MS) {
        patience.onRefusal({
          status,
          code: headers.get('x-error-code'),
          requestId: headers.get('x-request-id'),
          tries,
        });
        return response;
      }
      await response.body?.cancel();
      patience.onWait(status, waitMs);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  };
}

/** `Retry-After: 7`, `Retry-After: <date>`, or the hub's `RateLimit: "api";r=0;t=42`. */
function askedWaitMs(headers: Headers): number | null {
  const after = headers.get('retry-after') ?? /(?:^|;)\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  if (!after) return null;
  const ms = /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
