import { ERROR_CODES, type ErrorCode, SaeLensError } from '../errors.ts';
import { type ErrorMessage, type Hello, PROTOCOL_VERSION, schemaHash } from '../protocol/messages.ts';
import type { Exit, WorkerProcess } from './process.ts';

const TAIL_LINES = 20;

/** What the worker was doing when it was lost. */
export interface Doing {
  op: string | null;
  stage: string | null;
  done: number | null;
}

/** Died, or could not be started, before it said hello. */
export function startError(worker: WorkerProcess, exit: Exit & { spawnError?: Error }): SaeLensError {
  const details = { command: worker.command, ...exitDetails(exit), output: worker.log.tail(TAIL_LINES) };
  if (exit.spawnError) {
    return new SaeLensError('PYTHON_NOT_FOUND', `Cannot start "${worker.command}": ${exit.spawnError.message}`, {
      hint: 'sae-lens-ts doctor shows which Python is used; sae-lens-ts setup makes one',
      details,
      cause: exit.spawnError,
    });
  }
  return new SaeLensError(
    'WORKER_START',
    `The worker ${ending(exit)} before it was ready: ${worker.command}\n${worker.log.tail(TAIL_LINES)}`.trimEnd(),
    { hint: 'sae-lens-ts doctor checks its Python environment', details },
  );
}

export function startTimeoutError(worker: WorkerProcess, timeoutMs: number): SaeLensError {
  const said = worker.log.tail(TAIL_LINES) || 'It printed nothing.';
  return new SaeLensError(
    'WORKER_START',
    `The worker was not ready after ${timeoutMs} ms: ${worker.command}\n${said}`,
    {
      hint: 'a slow disk may need a longer start timeout; sae-lens-ts doctor checks the Python environment',
      details: { command: worker.command, timeoutMs, output: worker.log.tail(TAIL_LINES) },
    },
  );
}

/** What is wrong with a hello, or nothing. */
export function helloProblem(hello: Hello, session: string): SaeLensError | undefined {
  const ours = `protocol ${PROTOCOL_VERSION} (${schemaHash()})`;
  const theirs = `protocol ${hello.version} (${hello.schema_hash})`;
  if (ours !== theirs) {
    return new SaeLensError('PROTOCOL', `The worker speaks ${theirs}, this sae-lens-ts speaks ${ours}`, {
      hint: 'both must come from the same version: npm install sae-lens-ts (in a checkout: npm run build)',
      details: { ours, theirs },
    });
  }
  if (hello.session !== session) return new SaeLensError('PROTOCOL', 'The worker belongs to another session');
  return undefined;
}

/** Gone while it was needed. */
export function lostError(worker: WorkerProcess, exit: Exit, doing: Doing): SaeLensError {
  const during = describeDoing(doing);
  const certain = exit.outOfMemory ? ' by the kernel, which was out of memory' : ', most likely out of memory';
  const memory = exit.signal === 'SIGKILL' ? certain : '';
  return new SaeLensError(
    'WORKER_LOST',
    `The worker ${ending(exit)}${memory}${during}\n${worker.log.tail(TAIL_LINES)}`.trimEnd(),
    {
      hint: memory
        ? 'lower train_batch_size_tokens, store_batch_size_prompts or n_batches_in_buffer, or give it more memory'
        : undefined,
      details: { ...exitDetails(exit), ...doing, output: worker.log.tail(TAIL_LINES) },
    },
  );
}

/** Alive, but neither its link nor its work moves. */
export function stalledError(worker: WorkerProcess, reason: string, doing: Doing): SaeLensError {
  return new SaeLensError('WORKER_STALLED', `The worker ${reason}${describeDoing(doing)}`, {
    hint: 'the stacks of its threads are in the log',
    details: { ...doing, output: worker.log.tail(TAIL_LINES * 3) },
  });
}

/** The error of a handler, made anew with its code. */
export function handlerError(message: ErrorMessage): SaeLensError {
  const code = (Object.hasOwn(ERROR_CODES, message.code) ? message.code : 'BUG') as ErrorCode;
  return new SaeLensError(code, message.message, {
    hint: message.hint ?? undefined,
    details: message.traceback === null ? message.details : { ...message.details, traceback: message.traceback },
  });
}

const exitDetails = (exit: Exit): Record<string, unknown> => ({
  signal: exit.signal,
  exitCode: exit.code,
  ...(exit.outOfMemory ? { outOfMemory: true } : {}),
});

function ending({ code, signal }: Exit): string {
  return signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
}

function describeDoing({ op, stage, done }: Doing): string {
  if (op === null) return '';
  return ` during "${op}"${stage === null ? '' : `, stage "${stage}"${done === null ? '' : ` at ${done}`}`}`;
}
