import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { cacheHome } from './cache-home.ts';
import { askInterpreter, askPython, isNewEnough } from './find-python.ts';
import { packageRoot } from './package-root.ts';
import type { TorchBuild, TorchChoice } from './torch-build.ts';

/** A Python environment the worker can run in. */
export interface Environment {
  /** The interpreter: `<folder>/bin/python`. */
  readonly python: string;
  /** Its folder; null for an interpreter of the user's own. */
  readonly folder: string | null;
  /** True when we made it, false for `SAE_LENS_TS_PYTHON`. */
  readonly managed: boolean;
  readonly pythonVersion: string;
  /** null where the user's own interpreter decides. */
  readonly torchBuild: TorchBuild | null;
  /** `2.13.0+cpu`; null where it was not asked. */
  readonly torchVersion: string | null;
}

/** Which environment is meant. */
export interface EnvironmentSpec {
  /** requirements files; default the worker's own. */
  readonly requirements?: readonly string[];
  readonly torch?: TorchChoice;
  /** Lay this environment over a finished one and install only what that one lacks (tests). */
  readonly over?: Environment;
  readonly env?: NodeJS.ProcessEnv;
}

/** What is written, last of all, into an environment we made; without it the folder is not an environment. */
export interface Marker {
  readonly format: 1;
  readonly requirements: string;
  readonly pythonVersion: string;
  readonly torchBuild: TorchBuild;
  readonly torchVersion: string;
}

export const MARKER = 'sae-lens-ts-environment.json';
const PREFIX = 'python-';
/** Modules the worker cannot start without. */
const NEEDED_MODULES = ['torch', 'transformers', 'datasets', 'safetensors', 'numpy', 'pyarrow', 'zmq', 'msgspec'];
const CHECK_TIMEOUT_MS = 60_000;

/** The environment's interpreter. */
export function interpreterOf(folder: string): string {
  return process.platform === 'win32' ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python');
}

/** The requirements files of a spec, the worker's own by default. */
export function requirementsOf(spec: EnvironmentSpec): readonly string[] {
  return spec.requirements ?? [join(packageRoot(), 'requirements.txt')];
}

/** One hash of what the files ask for. */
export function hashRequirements(spec: EnvironmentSpec): string {
  const hash = createHash('sha256');
  for (const file of requirementsOf(spec)) hash.update(`${readFileSync(file, 'utf8')}\0`);
  if (spec.over) hash.update(spec.over.python);
  return hash.digest('hex');
}

/** The folder of an environment: its name says everything that decides what is in it. */
export function environmentFolder(spec: EnvironmentSpec, pythonVersion: string, torchBuild: TorchBuild): string {
  const what = [hashRequirements(spec), pythonVersion, torchBuild, process.platform, process.arch].join('\0');
  const key = createHash('sha256').update(what).digest('hex').slice(0, 12);
  return join(cacheHome(spec.env), `${PREFIX}${key}`);
}

/**
 * The environment that is ready to be used, without starting any process for a managed one.
 *
 * @returns null when none was set up yet, or what there is was left half-built.
 * @throws SaeLensError ENVIRONMENT_BROKEN or PYTHON_TOO_OLD when `SAE_LENS_TS_PYTHON` names an unfit interpreter.
 */
export async function locateEnvironment(spec: EnvironmentSpec = {}): Promise<Environment | null> {
  const env = spec.env ?? process.env;
  if (env.SAE_LENS_TS_PYTHON && spec.requirements === undefined) return checkOwnPython(env.SAE_LENS_TS_PYTHON, env);
  const home = cacheHome(env);
  if (!existsSync(home)) return null;
  const requirements = hashRequirements(spec);
  for (const name of readdirSync(home).filter((entry) => entry.startsWith(PREFIX))) {
    const folder = join(home, name);
    const marker = readMarker(folder);
    if (marker?.requirements === requirements && fits(marker, spec.torch ?? 'auto')) return describe(folder, marker);
  }
  return null;
}

/**
 * As {@link locateEnvironment}, for those who cannot go on without one.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING with the command that makes it.
 */
export async function requireEnvironment(spec: EnvironmentSpec = {}): Promise<Environment> {
  const environment = await locateEnvironment(spec);
  if (environment) return environment;
  throw new SaeLensError('ENVIRONMENT_MISSING', `No Python environment is set up in ${cacheHome(spec.env)}`, {
    hint: 'sae-lens-ts setup',
  });
}

/** What a finished environment's folder holds. */
export function describe(folder: string, marker: Marker): Environment {
  const { pythonVersion, torchBuild, torchVersion } = marker;
  return { python: interpreterOf(folder), folder, managed: true, pythonVersion, torchBuild, torchVersion };
}

/** The marker of a finished environment whose interpreter is still there; null for anything else. */
export function readMarker(folder: string): Marker | null {
  try {
    const marker = JSON.parse(readFileSync(join(folder, MARKER), 'utf8')) as Marker;
    return marker.format === 1 && existsSync(interpreterOf(folder)) ? marker : null;
  } catch {
    return null;
  }
}

/** `auto` takes what `auto` chose before; a build asked for by name takes exactly that build. */
function fits(marker: Marker, choice: TorchChoice): boolean {
  if (choice === 'auto') return true;
  return marker.torchBuild === choice || marker.torchBuild === 'default';
}

/** The user's own interpreter is only looked at, never changed. */
async function checkOwnPython(python: string, env: NodeJS.ProcessEnv): Promise<Environment> {
  const hint =
    'Point SAE_LENS_TS_PYTHON at a Python with the packages of requirements.txt, or unset it and run: sae-lens-ts setup';
  const answer = await askPython(python, env);
  if (typeof answer === 'string') {
    throw new SaeLensError('ENVIRONMENT_BROKEN', `SAE_LENS_TS_PYTHON is ${python}: ${answer}`, { hint });
  }
  if (!isNewEnough(answer.version)) {
    throw new SaeLensError('PYTHON_TOO_OLD', `SAE_LENS_TS_PYTHON is ${python}, Python ${answer.version}`, { hint });
  }
  // find_spec looks without importing: importing torch takes seconds.
  const ask = `import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])`;
  const options = { env, timeout: CHECK_TIMEOUT_MS };
  const lacking = await askInterpreter(python, [ask, ...NEEDED_MODULES], options);
  const wrong = 'said' in lacking ? `: ${lacking.said}` : lacking.stdout && `, which lacks: ${lacking.stdout}`;
  if (wrong) throw new SaeLensError('ENVIRONMENT_BROKEN', `SAE_LENS_TS_PYTHON is ${python}${wrong}`, { hint });
  return {
    python,
    folder: null,
    managed: false,
    pythonVersion: answer.version,
    torchBuild: null,
    torchVersion: null,
  };
}
