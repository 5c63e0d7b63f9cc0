import childProcess, { type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SaeLensError } from '../errors.ts';
import { untilGone, within } from './deadline.ts';
import { packageRoot } from './package-root.ts';

/** Longest wait for Python to start and import nothing but the standard library. */
const START_DEADLINE_MS = 30_000;
const CLOSE_GRACE_MS = 5_000;
const LAST_WORDS_MS = 200;
/** How much of what Python printed is kept to explain its death. */
const TAIL_CHARACTERS = 4_000;
/** A timer of Node that is longer fires at once. */
const LONGEST_CALL_MS = 2 ** 31 - 2_000;

/**
 * Variables a Python of ours starts without: they would load foreign code into it, or make pythonia print its traffic
 * (DEBUG), which holds the caller's secrets.
 */
const NOT_PASSED_ON = ['DEBUG', 'LD_PRELOAD', 'PYTHONHOME', 'PYTHONPATH', 'PYTHONSTARTUP', 'PYTHONINSPECT'];

/** A Python object behind pythonia's proxy: every access is a promise, every call a round trip. */
// biome-ignore lint/suspicious/noExplicitAny: its members are whatever the Python object has
export type PythonObject = any;

/** The members of pythonia's internals that this file relies on; a test pins them to the installed version. */
interface Com {
  proc: ChildProcess;
  handlers: Record<string, unknown>;
  recieve(message: Unanswered & { r: string }): void;
  write(request: unknown, answer?: (message: Unanswered) => void): void;
  writeRaw(request: string, r: string, answer: (message: Unanswered) => void): void;
}
/** What pythonia takes for Python's answer that a request failed. */
interface Unanswered {
  key: 'error';
  sig: string;
}
interface PyBridge {
  loop: NodeJS.Timeout;
  end(): void;
  makePyObject(ffid: number): PythonObject;
}

/** Why a call failed: Python raised, did not answer in time, or is gone. */
export type PythonFailure = 'raised' | 'timeout' | 'died';

export interface PythonSessionOptions {
  /** The interpreter's path. */
  python: string;
  env?: NodeJS.ProcessEnv | undefined;
  cwd?: string | undefined;
}

/**
 * One Python process behind pythonia, for calls no training depends on (design §5). Built on pythonia's internals: its
 * main module starts Python on import, lets it print on our stdout, takes one fixed interpreter and never notices a
 * death. Calls cross as JSON text, since a NaN or bytes on pythonia's own channel would end both processes.
 */
export class PythonSession {
  readonly #com: Com;
  readonly #bridge: PyBridge;
  readonly #exited: Promise<void>;
  readonly #death: Promise<never>;
  #facade: PythonObject;
  #tail = '';
  #dead: SaeLensError | null = null;
  #closing = false;

  /** Starts the interpreter. Throws PYTHON_NOT_FOUND, ENVIRONMENT_BROKEN, or USAGE outside Node. */
  static async start(options: PythonSessionOptions): Promise<PythonSession> {
    if ('Deno' in globalThis) {
      throw new SaeLensError(
        'USAGE',
        'Deno cannot call Python objects: pythonia talks over a channel that only Node has',
        {
          hint: 'use the tslab kernel, or Node; training and SAEs need no Python objects',
        },
      );
    }
    const session = new PythonSession(options);
    try {
      const root = packageRoot();
      session.#facade = await session.#race(
        () => session.#root.fileImport('sae_lens_ts_facade', join(root, 'pyworker', 'facade', 'rpc.py'), root),
        START_DEADLINE_MS,
        `start ${options.python}`,
      );
      return session;
    } catch (error) {
      session.#kill();
      await untilGone(session.#exited, session.pid);
      throw error;
    }
  }

  private constructor({ python, env = process.env, cwd }: PythonSessionOptions) {
    const { Bridge, StdioCom } = loadPythonia();
    let die: (error: SaeLensError) => void = () => {};
    this.#death = new Promise((_, reject) => {
      die = (error) => {
        this.#dead ??= error;
        reject(error);
      };
    });
    // Whoever calls hears of it; without a call pending it is nobody's unhandled rejection.
    this.#death.catch(() => {});
    const spawned = spawnInstead(() => new StdioCom(), python, { env: childEnvironment(env), cwd });
    this.#com = spawned;
    const child = spawned.proc;
    for (const pipe of [child.stdout, child.stderr]) {
      pipe?.setEncoding('utf8').on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-TAIL_CHARACTERS);
      });
    }
    this.#exited = new Promise((resolve) => {
      // `on`, not `once`: a failed spawn is followed by EPIPE of the channel. Of a process that did start, EPIPE only
      // says that it is ending; its exit says how.
      child.on('error', (error: NodeJS.ErrnoException) => {
        if (child.pid !== undefined) return;
        die(failure('died', `Python "${python}" cannot be run: ${error.message}`, error.code === 'ENOENT'));
        resolve();
      });
      child.once('exit', async (code, signal) => {
        // What it printed last may still be in the pipes; a child of its own may keep them open for ever.
        await Promise.race([once(child, 'close'), delay(LAST_WORDS_MS)]);
        const how = signal === null ? `exit code ${code}` : signal;
        die(
          failure('died', `Python "${python}" ended with ${how}${this.#tail === '' ? '' : `:\n${this.#tail.trim()}`}`),
        );
        this.#hangUp('the Python process is gone');
        resolve();
      });
    });
    this.#bridge = new Bridge(this.#com);
    // Its garbage collector must not keep Node alive.
    this.#bridge.loop.unref();
  }

  /** Of its Python process; undefined when that did not start. */
  get pid(): number | undefined {
    return this.#com.proc.pid;
  }

  /**
   * Calls `function` of a Python module with JSON values and returns its JSON result. A call that takes longer than
   * `timeoutMs` ends the session: Python cannot be interrupted from outside, only killed.
   *
   * @throws SaeLensError ENVIRONMENT_BROKEN when Python raised, was too slow or is gone (`details.reason`); USAGE for
   * what cannot cross as JSON, and after `close`
   */
  async call<T = unknown>(
    module: string,
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<T> {
    const what = `call ${module}.${name}`;
    const sound = Array.isArray(args) && typeof kwargs === 'object' && timeoutMs > 0 && timeoutMs <= LONGEST_CALL_MS;
    if (typeof module !== 'string' || typeof name !== 'string' || !sound) {
      throw new SaeLensError('USAGE', `Cannot ${what}: give a module, its function, an array, an object, milliseconds`);
    }
    const values = jsonOf({ args, kwargs }, what);
    const ask = (): Promise<string> => this.#facade.rpc$(module, name, values, { $timeout: timeoutMs + 1_000 });
    const answer = JSON.parse(await this.#race(ask, timeoutMs, what)) as
      | { ok: true; value: T }
      | { ok: false; type: string; message: string; traceback: string };
    if (answer.ok) return answer.value;
    throw failure('raised', `Cannot ${what}: ${answer.type}: ${answer.message}`, false, {
      traceback: answer.traceback,
    });
  }

  /**
   * A Python module as pythonia's live proxy, for looking around in a notebook. Mind that every access is awaited, that
   * a NaN inside `valueOf()` ends Node, and that arrays are slow: use the worker for those. Its errors are pythonia's own.
   *
   * @throws SaeLensError ENVIRONMENT_BROKEN, and USAGE after `close`
   */
  async import(module: string): Promise<PythonObject> {
    if (typeof module !== 'string') throw new SaeLensError('USAGE', `Cannot import ${module}: give a module's name`);
    return this.#race(() => this.#root.python(module), START_DEADLINE_MS * 2, `import ${module}`);
  }

  /** Lets Python end by itself (its atexit functions run), kills it after `graceMs`. */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    this.#closing = true;
    this.#hangUp('the Python session is closed');
    if (this.#com.proc.connected) this.#com.proc.disconnect();
    await within(this.#exited, graceMs, () => {
      this.#kill();
      return untilGone(this.#exited, this.pid);
    });
  }

  /** Closes it at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #root(): PythonObject {
    return this.#bridge.makePyObject(0);
  }

  async #race<T>(ask: () => Promise<T>, timeoutMs: number, what: string): Promise<T> {
    if (this.#closing)
      throw new SaeLensError('USAGE', `Cannot ${what}: the Python session is closed`, { hint: 'start another one' });
    if (this.#dead !== null) throw this.#dead;
    const pending = ask();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(failure('timeout', `Cannot ${what}: no answer after ${timeoutMs} ms`));
        this.#kill();
      }, timeoutMs);
    });
    try {
      return await Promise.race([pending, this.#death, late]);
    } catch (error) {
      if (error instanceof SaeLensError) throw error;
      // pythonia's own exception has an empty message; what Python said is in its stack.
      throw failure('raised', `Cannot ${what}: ${(error as Error).message || (error as Error).stack}`);
    } finally {
      clearTimeout(timer);
      // The loser of the race may still reject.
      pending.catch(() => {});
    }
  }

  /** pythonia would wait for its own timers, 100 s long; tell it that nobody will answer, now and later. */
  #hangUp(sig: string): void {
    this.#bridge.end();
    const unanswered = { key: 'error', sig } as const;
    this.#com.write = (_, answer) => answer?.(unanswered);
    this.#com.writeRaw = (_request, _r, answer) => answer(unanswered);
    for (const r of Object.keys(this.#com.handlers)) {
      if (r !== 'jsi') this.#com.recieve({ r, ...unanswered });
    }
  }

  /** The whole group: what Python started goes with it. */
  #kill(): void {
    const { pid, exitCode, signalCode } = this.#com.proc;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
    } catch {
      // Gone meanwhile.
    }
  }
}

function failure(
  reason: PythonFailure,
  message: string,
  missing = false,
  details: Record<string, unknown> = {},
): SaeLensError {
  return new SaeLensError(missing ? 'PYTHON_NOT_FOUND' : 'ENVIRONMENT_BROKEN', message, {
    hint: 'sae-lens-ts doctor',
    details: { reason, ...details },
  });
}

function jsonOf(value: unknown, what: string): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new SaeLensError('USAGE', `Cannot ${what}: ${(cause as Error).message}`, { cause });
  }
}

interface Internals {
  Bridge: new (com: Com) => PyBridge;
  StdioCom: new () => Com;
}

/** The inner modules start nothing when loaded. With DEBUG set they would print every message on stdout. */
export function loadPythonia(): Internals {
  const load = createRequire(import.meta.url);
  const { DEBUG } = process.env;
  delete process.env.DEBUG;
  try {
    const { Bridge } = load('pythonia/src/pythonia/Bridge.js') as Pick<Internals, 'Bridge'>;
    const { StdioCom } = load('pythonia/src/pythonia/IpcPipeCom.js') as Pick<Internals, 'StdioCom'>;
    return { Bridge, StdioCom };
  } finally {
    if (DEBUG !== undefined) process.env.DEBUG = DEBUG;
  }
}

/** pythonia's constructor calls `spawn` with its own choices; for that one synchronous moment ours are used. */
function spawnInstead(create: () => Com, python: string, options: SpawnOptions): Com {
  const { spawn } = childProcess;
  const ours = (_command: string, args: readonly string[]): ChildProcess => {
    // Its own process group, so that Ctrl-C reaches us alone and `#kill` reaches its children.
    const child = spawn(python, ['-u', ...args], {
      ...options,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    child.on('error', () => {});
    return child;
  };
  childProcess.spawn = ours as typeof spawn;
  try {
    return create();
  } finally {
    childProcess.spawn = spawn;
  }
}

function childEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const passed = Object.entries(env).filter(([name]) => !NOT_PASSED_ON.includes(name));
  return { ...Object.fromEntries(passed), PYTHONUTF8: '1', PYTHONDONTWRITEBYTECODE: '1' };
}
