/** Exit codes of every command (design §8). */
export const ExitCode = {
  done: 0,
  bug: 1,
  config: 2,
  environment: 3,
  input: 4,
  training: 5,
  workerLost: 6,
  storage: 7,
  interrupted: 130,
  terminated: 143,
} as const;

/**
 * The table of codes: a code is API. Each maps to the exit code of a command that fails with it.
 * `docs/errors.md` explains each one, and a test holds the two lists equal.
 */
export const ERROR_CODES = {
  BUG: ExitCode.bug,
  CONFIG_INVALID: ExitCode.config,
  USAGE: ExitCode.config,
  RESUME_REFUSED: ExitCode.config,
  REGISTRY_INVALID: ExitCode.config,
  PYTHON_NOT_FOUND: ExitCode.environment,
  PYTHON_TOO_OLD: ExitCode.environment,
  ENVIRONMENT_MISSING: ExitCode.environment,
  ENVIRONMENT_BROKEN: ExitCode.environment,
  SETUP_FAILED: ExitCode.environment,
  DEVICE_UNAVAILABLE: ExitCode.environment,
  MODEL_NOT_FOUND: ExitCode.input,
  MODEL_LOAD_FAILED: ExitCode.input,
  HOOK_NOT_FOUND: ExitCode.input,
  HOOK_SHAPE: ExitCode.input,
  D_IN_MISMATCH: ExitCode.input,
  DATASET_NOT_FOUND: ExitCode.input,
  DATASET_INVALID: ExitCode.input,
  DATASET_EXHAUSTED: ExitCode.input,
  TOKENIZER_MISMATCH: ExitCode.input,
  SAE_INVALID: ExitCode.input,
  RELEASE_NOT_FOUND: ExitCode.input,
  HUB: ExitCode.input,
  HUB_TOKEN: ExitCode.input,
  HUB_FORBIDDEN: ExitCode.input,
  HUB_NOT_FOUND: ExitCode.input,
  HUB_CONFLICT: ExitCode.input,
  HUB_BUSY: ExitCode.input,
  HUB_UNREACHABLE: ExitCode.input,
  HUB_OFFLINE: ExitCode.input,
  HUB_DAMAGED: ExitCode.input,
  PICKLE_REFUSED: ExitCode.input,
  NOT_FINITE: ExitCode.training,
  LOSS_EXPLODED: ExitCode.training,
  OUT_OF_MEMORY: ExitCode.training,
  TRAINING_FAILED: ExitCode.training,
  WORKER_START: ExitCode.workerLost,
  WORKER_LOST: ExitCode.workerLost,
  WORKER_STALLED: ExitCode.workerLost,
  PROTOCOL: ExitCode.workerLost,
  STORAGE: ExitCode.storage,
  INTERRUPTED: ExitCode.interrupted,
  TERMINATED: ExitCode.terminated,
} as const;

/** One of the codes of {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Everything a reader needs to act on a failure. */
export interface SaeLensErrorOptions {
  /** What to do next, a command where there is one. */
  hint?: string | undefined;
  /** JSON values for `--json` users; never a secret. */
  details?: Record<string, unknown> | undefined;
  cause?: unknown;
}

/**
 * The one error class. `message` names the action that failed, the value and what was seen; `hint` the next step.
 */
export class SaeLensError extends Error {
  override readonly name = 'SaeLensError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: SaeLensErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  /** The exit code a command ends with when this error reaches its top. */
  get exitCode(): number {
    return ERROR_CODES[this.code];
  }
}
