import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { SaeLensError } from '../errors.ts';
import {
  describe,
  type Environment,
  type EnvironmentSpec,
  environmentFolder,
  hashRequirements,
  interpreterOf,
  locateEnvironment,
  MARKER,
  type Marker,
  readMarker,
  requirementsOf,
} from './environment.ts';
import { findPython, type Python } from './find-python.ts';
import { type InstallLog, installerEnvironment, runStep, type SetupProgress } from './install.ts';
import { withSetupLock } from './setup-lock.ts';
import { chooseTorchBuild, cpuIndexOptions, type TorchBuild } from './torch-build.ts';

/** How to make an environment. */
export interface EnsureOptions extends EnvironmentSpec {
  readonly progress?: SetupProgress;
  /** Build it anew even when it is there. */
  readonly force?: boolean;
}

/** Says that a folder is ours and unfinished: written first, removed after the marker. */
const BUILDING = '.building';
/** Long enough for another set-up to bring the CUDA build over a slow line. */
const LOCK_DEADLINE_MS = 3_600_000;
const PROBE_TIMEOUT_MS = 20_000;
const TORCH_VERSION = 'import torch; print(torch.__version__)';

/**
 * The environment of a spec, made when it is not there yet. Nothing is redone when nothing changed; a half-built one
 * is built again; folders that we did not make are never touched.
 *
 * @throws SaeLensError PYTHON_NOT_FOUND, PYTHON_TOO_OLD, SETUP_FAILED.
 */
export async function ensureEnvironment(options: EnsureOptions = {}): Promise<Environment> {
  const ready = options.force ? null : await locateEnvironment(options);
  if (ready) return ready;
  const env = installerEnvironment(options.env ?? process.env);
  const progress = options.progress ?? (() => {});
  progress('Looking for Python');
  const python = options.over ? await baseOf(options.over) : await findPython(env);
  const torchBuild = options.over?.torchBuild ?? (await chooseTorchBuild(options.torch ?? 'auto', env));
  const folder = environmentFolder(options, python.version, torchBuild);
  const log: InstallLog = { path: `${folder}.log`, env, progress };
  return withSetupLock(`${folder}.lock`, LOCK_DEADLINE_MS, async () => {
    const made = options.force ? null : readMarker(folder);
    return describe(folder, made ?? (await build(folder, python, torchBuild, options, log)));
  });
}

async function build(folder: string, python: Python, torchBuild: TorchBuild, options: EnsureOptions, log: InstallLog) {
  await makeRoom(folder);
  if (options.over) await layOver(folder, python, options.over, log);
  await installPackages(folder, python, torchBuild, options, log);
  const torchVersion = await runStep('Checking torch', [interpreterOf(folder), '-c', TORCH_VERSION], log);
  const marker: Marker = {
    format: 1,
    requirements: hashRequirements(options),
    pythonVersion: python.version,
    torchBuild,
    torchVersion: torchVersion.trim(),
  };
  await writeMarker(folder, marker);
  return marker;
}

/** Empties what an earlier attempt of ours left; refuses a folder that is not ours. */
async function makeRoom(folder: string): Promise<void> {
  const ours = !existsSync(folder) || existsSync(join(folder, BUILDING)) || existsSync(join(folder, MARKER));
  if (!ours && (await readdir(folder)).length > 0) {
    throw new SaeLensError('SETUP_FAILED', `${folder} is in the way and was not made by sae-lens-ts`, {
      hint: 'Move it away, or set SAE_LENS_TS_HOME to another folder',
    });
  }
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, BUILDING), `${process.pid}\n`);
}

/** uv where there is one, else venv + pip; when uv's choice of torch cannot be had, pip is asked too. */
async function installPackages(
  folder: string,
  python: Python,
  torchBuild: TorchBuild,
  options: EnsureOptions,
  log: InstallLog,
): Promise<void> {
  const files = requirementsOf(options);
  if (!options.over && (await hasUv(log.env))) {
    try {
      return await installWithUv(folder, python, torchBuild, files, log);
    } catch (error) {
      log.progress('uv could not install the packages, trying pip', (error as Error).message.split('\n')[0]);
    }
  }
  if (!options.over) {
    // Whatever uv left behind goes first.
    await makeRoom(folder);
    await runStep('Creating the environment', [python.executable, '-m', 'venv', folder], log);
  }
  const pip = [interpreterOf(folder), '-m', 'pip'];
  const torch = pinOf('torch', files);
  if (torch && torchBuild === 'cpu' && !options.over) {
    const index = await cpuIndexOptions(pip, torch, log.env);
    await runStep('Installing torch (CPU build)', [...pip, 'install', ...index, torch], log);
  }
  await runStep('Installing packages', [...pip, 'install', ...files.flatMap((file) => ['-r', file])], log);
}

async function installWithUv(
  folder: string,
  python: Python,
  torchBuild: TorchBuild,
  files: readonly string[],
  log: InstallLog,
): Promise<void> {
  // --seed puts pip in: bundled assets are fetched with it.
  const venv = ['uv', 'venv', '--seed', '--allow-existing', '--python', python.executable, folder];
  await runStep('Creating the environment', venv, log);
  const backend = torchBuild === 'default' ? [] : ['--torch-backend', torchBuild === 'cpu' ? 'cpu' : 'auto'];
  const target = ['--python', interpreterOf(folder)];
  const install = ['uv', 'pip', 'install', ...target, ...backend, ...files.flatMap((file) => ['-r', file])];
  await runStep('Installing packages', install, log);
}

/** Makes an environment that sees all packages of a finished one. */
async function layOver(folder: string, python: Python, over: Environment, log: InstallLog): Promise<void> {
  await runStep('Creating the environment', [python.executable, '-m', 'venv', folder], log);
  const ask = 'import sysconfig; print(sysconfig.get_path("purelib"))';
  const below = (await runStep('Asking for packages', [over.python, '-c', ask], log)).trim();
  const own = (await runStep('Asking for packages', [interpreterOf(folder), '-c', ask], log)).trim();
  await writeFile(join(own, 'sae_lens_ts_base.pth'), `${below}\n`);
}

async function baseOf(over: Environment): Promise<Python> {
  return { executable: over.python, version: over.pythonVersion };
}

async function hasUv(env: NodeJS.ProcessEnv): Promise<boolean> {
  const quiet = { env, extendEnv: false, reject: false, stdin: 'ignore' } as const;
  const answer = await execa('uv', ['--version'], { ...quiet, timeout: PROBE_TIMEOUT_MS });
  return !answer.failed;
}

/** The line of the requirements files that pins a package, if one does. */
function pinOf(name: string, files: readonly string[]): string | undefined {
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  return lines.map((line) => line.trim()).find((line) => line.startsWith(`${name}==`));
}

/** Atomic, and last: what has a marker is whole. */
async function writeMarker(folder: string, marker: Marker): Promise<void> {
  const path = join(folder, MARKER);
  const file = await open(`${path}.tmp`, 'w');
  await file.writeFile(`${JSON.stringify(marker, null, 2)}\n`);
  await file.sync();
  await file.close();
  await rename(`${path}.tmp`, path);
  await rm(join(folder, BUILDING), { force: true });
}
