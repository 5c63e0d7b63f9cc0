import { type ErrorCode, SaeLensError } from '../errors.ts';

/** Restarts in a row, unless somebody says otherwise. */
export const MOST_RESTARTS = 3;
/** Before the first restart; each further one waits four times as long (faults.md: 1, 4, 16 s). */
const FIRST_DELAY_MS = 1_000;
const LONGER = 4;
/** With the same plan it would run out of memory again, unless something else on the machine had taken it. */
const MOST_RESTARTS_OUT_OF_MEMORY = 1;
/** The system failed, not the run: what it computed would be computed again. An error that Python told is no such thing. */
const SYSTEM_FAILURES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['WORKER_LOST', 'WORKER_STALLED']);

/** Where a run is that is started again when its worker is lost. */
export type Supervision =
  | { readonly at: 'running'; readonly restarts: number }
  | { readonly at: 'waiting'; readonly restarts: number; readonly delayMs: number }
  | { readonly at: 'given_up'; readonly error: unknown };

/** What happens to it. */
export type SupervisionEvent =
  | { readonly kind: 'waited' }
  /** `progressed`: it left a checkpoint since it was last started, which alone proves that it recovered. */
  | { readonly kind: 'failed'; readonly error: unknown; readonly progressed: boolean };

export const STARTED: Supervision = { at: 'running', restarts: 0 };

/** Every way from one state to the next; what cannot happen in a state leaves it as it is. */
export function supervised(state: Supervision, event: SupervisionEvent, mostRestarts = MOST_RESTARTS): Supervision {
  if (state.at === 'waiting' && event.kind === 'waited') return { at: 'running', restarts: state.restarts };
  if (state.at !== 'running' || event.kind !== 'failed') return state;
  const { error, progressed } = event;
  if (!(error instanceof SaeLensError) || !SYSTEM_FAILURES.has(error.code)) return { at: 'given_up', error };
  const restarts = progressed ? 0 : state.restarts;
  const most = error.details.outOfMemory === true ? Math.min(mostRestarts, MOST_RESTARTS_OUT_OF_MEMORY) : mostRestarts;
  if (restarts < most) {
    return { at: 'waiting', restarts: restarts + 1, delayMs: FIRST_DELAY_MS * LONGER ** restarts };
  }
  return { at: 'given_up', error: restarts === 0 ? error : givenUp(error, restarts) };
}

function givenUp(error: SaeLensError, restarts: number): SaeLensError {
  const times = restarts === 1 ? 'once' : `${restarts} times`;
  const message = `${error.message}\nIt was restarted ${times} and got no further: no checkpoint was written since`;
  return new SaeLensError(error.code, message, {
    hint: error.hint,
    details: { ...error.details, restarts },
    cause: error,
  });
}
