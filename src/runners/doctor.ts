import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { freemem, homedir } from 'node:os';
import { join } from 'node:path';
import { freeSpace } from '../artifacts/free-space.ts';
import { ExitCode, SaeLensError } from '../errors.ts';
import { bytes } from '../format.ts';
import { redact } from '../log.ts';
import { plainJson, plainText } from '../plain-text.ts';
import { curveAvailable } from '../worker/channel.ts';
import { locateEnvironment } from '../worker/environment.ts';
import { packageRoot } from '../worker/package-root.ts';
import { type Finding, judgePython, SETUP } from './doctor-findings.ts';
import { probePython } from './doctor-probe.ts';

const OLDEST_NODE: readonly [number, number] = [20, 19];
/** Below these a run of the bundled preset gets into trouble. */
const LITTLE_DISK_BYTES = 5e9;
const LITTLE_MEMORY_BYTES = 2e9;
const HUB_DEADLINE_MS = 10_000;

export interface DoctorOptions {
  /** Machine-readable: one JSON object on stdout. */
  json?: boolean | undefined;
  /** Also ask the hub. Nothing else here uses a network. */
  online?: boolean | undefined;
  /** Default: the environment that `train` would use. */
  python?: string | undefined;
  /** Where runs would be written; its disk is looked at. */
  folder?: string | undefined;
  write?: ((text: string) => void) | undefined;
}

/**
 * Looks at everything a training needs and says for each thing whether it is well and what to do if not.
 * Returns the exit code: 3 when something must be fixed, else 0.
 */
export async function runDoctor(options: DoctorOptions = {}): Promise<number> {
  const { write = (text: string) => process.stdout.write(text) } = options;
  const findings = [
    nodeVersion(),
    curve(),
    ...(await python(options.python)),
    await disk(options.folder ?? process.cwd()),
    memory(),
    await hubToken(),
    wandbKey(),
    ...(options.online ? [await hub()] : []),
  ];
  const failed = findings.filter(({ state }) => state === 'fail').length;
  if (options.json) write(redact(`${plainJson({ ok: failed === 0, findings })}\n`));
  else write(redact(table(findings)));
  return failed === 0 ? ExitCode.done : ExitCode.environment;
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const old = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]);
  if (!old) return { name: 'node', state: 'ok', message: process.versions.node };
  return {
    name: 'node',
    state: 'fail',
    message: `${process.versions.node} is too old`,
    fix: 'install Node 20.19 or newer',
  };
}

function curve(): Finding {
  const works = curveAvailable();
  if (works) return { name: 'zeromq curve', state: 'ok', message: 'available' };
  return {
    name: 'zeromq curve',
    state: 'fail',
    message: 'the zeromq package was built without it',
    fix: 'npm install zeromq',
  };
}

async function python(given: string | undefined): Promise<Finding[]> {
  const broken = (message: string, fix: string): Finding[] => [{ name: 'python', state: 'fail', message, fix }];
  let interpreter = given;
  try {
    interpreter ??= (await locateEnvironment())?.python;
  } catch (error) {
    if (error instanceof SaeLensError) return broken(error.message, error.hint ?? SETUP);
    throw error;
  }
  if (interpreter === undefined) return broken('no environment is set up', SETUP);
  const wanted = await requirements();
  try {
    return judgePython(await probePython(interpreter, [...wanted.keys()]), wanted);
  } catch (error) {
    // The message of a process that failed carries what it printed.
    return broken(`"${interpreter}" does not work: ${plainText((error as Error).message).trim()}`, SETUP);
  }
}

/** The pins of requirements.txt without a marker; those with one depend on the Python version and are setup's business. */
async function requirements(): Promise<Map<string, string>> {
  const text = await readFile(join(packageRoot(), 'requirements.txt'), 'utf8');
  const pins = text.split('\n').map((line) => /^([\w.-]+)==([^\s;]+)\s*$/.exec(line));
  return new Map(pins.flatMap((pin) => (pin === null ? [] : [[pin[1] as string, pin[2] as string] as const])));
}

async function disk(folder: string): Promise<Finding> {
  const free = await freeSpace(folder);
  const message = `${bytes(free)} free at ${folder}`;
  if (free >= LITTLE_DISK_BYTES) return { name: 'disk', state: 'ok', message };
  return { name: 'disk', state: 'warn', message, fix: 'free some space or run in a folder on another disk' };
}

function memory(): Finding {
  const message = `${bytes(freemem())} free`;
  if (freemem() >= LITTLE_MEMORY_BYTES) return { name: 'memory', state: 'ok', message };
  return {
    name: 'memory',
    state: 'warn',
    message,
    fix: 'close other programs, or lower store_batch_size_prompts and d_sae',
  };
}

/** Says where a token is, never what it is. Without one everything public works. */
async function hubToken(): Promise<Finding> {
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = process.env.HF_TOKEN_PATH ?? join(home, 'token');
  const from = process.env.HF_TOKEN ? 'HF_TOKEN' : existsSync(file) ? file : null;
  return {
    name: 'hub token',
    state: 'ok',
    message: from === null ? 'none (public models need none)' : `present (${from})`,
  };
}

function wandbKey(): Finding {
  const from = process.env.WANDB_API_KEY
    ? 'WANDB_API_KEY'
    : existsSync(process.env.NETRC ?? join(homedir(), '.netrc'))
      ? '.netrc'
      : null;
  return {
    name: 'W&B key',
    state: 'ok',
    message: from === null ? 'none (W&B would work offline)' : `present (${from})`,
  };
}

async function hub(): Promise<Finding> {
  const url = process.env.HF_ENDPOINT ?? 'https://huggingface.co';
  try {
    const response = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(HUB_DEADLINE_MS) });
    return { name: 'hub', state: 'ok', message: `${url} answers (${response.status})` };
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    return {
      name: 'hub',
      state: 'warn',
      message: `${url} cannot be reached: ${reason}`,
      fix: 'check the network, HTTPS_PROXY and HF_ENDPOINT',
    };
  }
}

const MARKS = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' } as const;

function table(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.flatMap(({ name, state, message, fix }) => [
    `${MARKS[state]}  ${name.padEnd(width)}  ${plainText(message)}`,
    ...(fix === undefined ? [] : [`${' '.repeat(width + 8)}fix: ${fix}`]),
  ]);
  const count = (state: Finding['state']): number => findings.filter((finding) => finding.state === state).length;
  return `${lines.join('\n')}\n\n${count('fail')} to fix, ${count('warn')} warnings\n`;
}
