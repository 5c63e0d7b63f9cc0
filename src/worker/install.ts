import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { SaeLensError } from '../errors.ts';

/** What a set-up is doing now: a step, and within it what moves. */
export type SetupProgress = (step: string, detail?: string) => void;

/** Where the output of the tools of one set-up goes. */
export interface InstallLog {
  readonly path: string;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: SetupProgress;
}

const INSTALL_TIMEOUT_MS = 3_600_000;
const LAST_LINES = 15;
/** Variables that would send packages elsewhere than into the environment we build. */
const MISLEADING = [
  'PYTHONPATH',
  'PYTHONHOME',
  'PIP_TARGET',
  'PIP_PREFIX',
  'PIP_USER',
  'VIRTUAL_ENV',
  '__PYVENV_LAUNCHER__',
];

/** The user's environment without what would lead pip astray. */
export function installerEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const clean: NodeJS.ProcessEnv = { ...env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' };
  for (const name of MISLEADING) delete clean[name];
  return clean;
}

/**
 * Runs one tool of the set-up; its output goes to the log, its notable lines to the progress.
 *
 * @returns What it wrote on stdout.
 * @throws SaeLensError SETUP_FAILED with the last lines and the log's path.
 */
export async function runStep(step: string, command: readonly string[], log: InstallLog): Promise<string> {
  await mkdir(dirname(log.path), { recursive: true });
  log.progress(step);
  const sink = createWriteStream(log.path, { flags: 'a' });
  sink.write(`$ ${command.join(' ')}\n`);
  const [file = '', ...args] = command;
  const child = execa(file, args, {
    env: log.env,
    extendEnv: false,
    reject: false,
    all: true,
    stdin: 'ignore',
    timeout: INSTALL_TIMEOUT_MS,
    maxBuffer: 100_000_000,
  });
  if (child.all) {
    createInterface({ input: child.all }).on('line', (line) => {
      sink.write(`${line}\n`);
      const notable = /^\s*(Downloading|Building|Installing|Collecting)\s+(.{1,80})/.exec(line);
      if (notable) log.progress(step, `${notable[1]} ${notable[2]}`);
    });
  }
  const result = await child;
  await new Promise((done) => sink.end(done));
  if (!result.failed) return result.stdout;
  const said = (result.all ?? '').trimEnd().split('\n').slice(-LAST_LINES).join('\n');
  throw new SaeLensError('SETUP_FAILED', `${step} failed: ${said || result.shortMessage}`, {
    hint: `The whole output is in ${log.path}. Mend the cause and run again: sae-lens-ts setup`,
    details: { command: command.join(' '), exitCode: result.exitCode ?? null, log: log.path },
  });
}
