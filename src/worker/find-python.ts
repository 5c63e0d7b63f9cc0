import { execa } from 'execa';
import { SaeLensError } from '../errors.ts';

/** An interpreter on this machine that can carry the worker. */
export interface Python {
  /** Absolute path of the executable, as Python itself reports it. */
  readonly executable: string;
  /** `3.11.7` */
  readonly version: string;
}

/** The oldest Python that the pinned packages run on. */
export const OLDEST_PYTHON = [3, 10] as const;

/** What is looked for, in this order: the user's word, the usual name, then exact versions. */
const NAMES = ['python3', 'python', 'python3.13', 'python3.12', 'python3.11', 'python3.10'];
const ASK = 'import json, sys; print(json.dumps([sys.executable, ".".join(map(str, sys.version_info[:3]))]))';
const PROBE_TIMEOUT_MS = 20_000;
const INSTALL_HINT =
  process.platform === 'darwin'
    ? 'brew install python@3.12'
    : 'sudo apt install python3 python3-venv (or your system’s equivalent)';

/** True when `version` (`3.11.7`) is at least {@link OLDEST_PYTHON}. */
export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1]);
}

/**
 * What a line of Python prints; `said` is why it does not answer.
 *
 * @throws SaeLensError WORKER_LOST when it was killed: that says nothing about the interpreter.
 */
export async function askInterpreter(
  command: string,
  words: readonly string[],
  options: { env: NodeJS.ProcessEnv; timeout: number },
): Promise<{ stdout: string } | { said: string }> {
  const answer = await execa(command, ['-c', ...words], {
    ...options,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  if (answer.signal === 'SIGKILL' && !answer.timedOut) {
    throw new SaeLensError('WORKER_LOST', `${command} was killed (SIGKILL) before the worker was started with it`, {
      hint: 'Start the same command again; if it happens again, look at what ends processes here (memory, a job scheduler).',
      details: { signal: answer.signal },
    });
  }
  if (!answer.failed) return { stdout: answer.stdout };
  if (answer.code === 'ENOENT') return { said: 'not found' };
  const said = (answer.stderr || answer.shortMessage || '').trim().split('\n').at(-1);
  return { said: said || 'does not start' };
}

/** Asks an interpreter who it is; a text instead of a Python says why it does not answer. */
export async function askPython(command: string, env: NodeJS.ProcessEnv): Promise<Python | string> {
  const answer = await askInterpreter(command, [ASK], { env, timeout: PROBE_TIMEOUT_MS });
  if ('said' in answer) return answer.said;
  try {
    const [executable, version] = JSON.parse(answer.stdout) as [string, string];
    return { executable, version };
  } catch {
    return `answered ${JSON.stringify(answer.stdout.slice(0, 80))}`;
  }
}

/**
 * Finds a Python to build environments with.
 *
 * @throws SaeLensError PYTHON_NOT_FOUND when nothing answers, PYTHON_TOO_OLD when only older ones do; both list what
 * was looked for and where.
 */
export async function findPython(env: NodeJS.ProcessEnv = process.env): Promise<Python> {
  const candidates = env.SAE_LENS_TS_BASE_PYTHON ? [env.SAE_LENS_TS_BASE_PYTHON] : NAMES;
  const looked: Record<string, string> = {};
  let tooOld: Python | undefined;
  for (const command of candidates) {
    const answer = await askPython(command, env);
    if (typeof answer === 'string') {
      looked[command] = answer;
    } else if (isNewEnough(answer.version)) {
      return answer;
    } else {
      looked[command] = `Python ${answer.version} at ${answer.executable}`;
      tooOld ??= answer;
    }
  }
  const where = env.SAE_LENS_TS_BASE_PYTHON ? 'SAE_LENS_TS_BASE_PYTHON' : `PATH (${env.PATH || 'empty'})`;
  const oldest = OLDEST_PYTHON.join('.');
  const list = Object.entries(looked).map(([command, answer]) => `\n  ${command}: ${answer}`);
  throw new SaeLensError(
    tooOld === undefined ? 'PYTHON_NOT_FOUND' : 'PYTHON_TOO_OLD',
    tooOld === undefined
      ? `No Python ${oldest} or newer found in ${where}. Looked for:${list.join('')}`
      : `Python ${oldest} or newer is needed; ${where} has only older ones. Looked for:${list.join('')}`,
    {
      hint: `${INSTALL_HINT}, or point SAE_LENS_TS_BASE_PYTHON at one, then: sae-lens-ts setup`,
      details: { looked, where, oldest },
    },
  );
}
