import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureEnvironment } from '../../../src/worker/ensure-environment.ts';
import { type Environment, environmentFolder, locateEnvironment, MARKER } from '../../../src/worker/environment.ts';
import { findPython } from '../../../src/worker/find-python.ts';

// Real environments, built by the real pip; one small package stands for the worker's many.
const PACKAGE = 'six==1.17.0';
const TORCH_STAND_IN = '__version__ = "0.0+test"\n';

let home: string;
let env: NodeJS.ProcessEnv;
let requirements: string[];

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'slts-env-'));
  const file = join(home, 'requirements.txt');
  writeFileSync(file, `${localTorch()}\n${PACKAGE}\n`);
  requirements = [file];
  env = { ...process.env, SAE_LENS_TS_HOME: home };
  delete env.SAE_LENS_TS_PYTHON;
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** A folder that pip installs as a package with torch's name, so that no test downloads the real one. */
function localTorch(): string {
  const folder = join(home, 'torch-package');
  mkdirSync(join(folder, 'torch'), { recursive: true });
  writeFileSync(join(folder, 'torch', '__init__.py'), TORCH_STAND_IN);
  writeFileSync(
    join(folder, 'setup.py'),
    'from setuptools import setup\nsetup(name="torch", version="0", packages=["torch"])\n',
  );
  return folder;
}

// Each test goes on from where the one before left the home: making an environment takes seconds.
describe('ensureEnvironment', () => {
  let made: Environment;

  it('lets one of two set-ups at once build, and both have it', async () => {
    const both = await Promise.all([
      ensureEnvironment({ requirements, env, torch: 'cpu' }),
      ensureEnvironment({ requirements, env, torch: 'cpu' }),
    ]);
    made = both[0];
    expect(made).toEqual(both[1]);
    expect(made).toMatchObject({ managed: true, torchBuild: 'cpu', torchVersion: '0.0+test' });
    expect(readFileSync(`${made.folder}.log`, 'utf8').match(/^\$ .* -m venv /gm)).toHaveLength(1);
    const six = await execa(made.python, ['-c', 'import six; print(six.__version__)']);
    expect(six.stdout).toBe('1.17.0');
  });

  it('finds it in milliseconds afterwards, without starting a process', async () => {
    const started = performance.now();
    expect(await ensureEnvironment({ requirements, env: { ...env, PATH: '' } })).toEqual(made);
    expect(performance.now() - started).toBeLessThan(100);
  });

  it('wants another folder when the requirements, the Python or the torch build are others', async () => {
    const changed = join(home, 'changed.txt');
    writeFileSync(changed, `${PACKAGE}\n`);
    expect(await locateEnvironment({ requirements: [changed], env })).toBeNull();
    expect(await locateEnvironment({ requirements, env, torch: 'cuda' })).toBeNull();
    const folders = [
      environmentFolder({ requirements, env }, made.pythonVersion, 'cpu'),
      environmentFolder({ requirements: [changed], env }, made.pythonVersion, 'cpu'),
      environmentFolder({ requirements, env }, '3.10.0', 'cpu'),
      environmentFolder({ requirements, env }, made.pythonVersion, 'cuda'),
    ];
    expect(folders[0]).toBe(made.folder);
    expect(new Set(folders).size).toBe(4);
  });

  it('lays an environment over a finished one and sees its packages', async () => {
    const file = join(home, 'more.txt');
    writeFileSync(file, `${PACKAGE}\n`);
    const over = await ensureEnvironment({ requirements: [file], over: made, env });
    const seen = await execa(over.python, ['-c', 'import six, torch; print(six.__file__, torch.__version__)']);
    expect(seen.stdout).toContain(made.folder);
    expect(seen.stdout).toContain('0.0+test');
  });

  it('builds again what has a broken marker, over the lock of a set-up that died', async () => {
    const marker = join(made.folder ?? '', MARKER);
    const whole = readFileSync(marker, 'utf8');
    writeFileSync(marker, whole.slice(0, 20));
    expect(await locateEnvironment({ requirements, env })).toBeNull();
    const dead = await execa(process.execPath, ['-p', 'process.pid']);
    writeFileSync(`${made.folder}.lock`, JSON.stringify({ pid: Number(dead.stdout), host: hostname() }));
    expect(await ensureEnvironment({ requirements, env, torch: 'cpu' })).toEqual(made);
    expect(readFileSync(marker, 'utf8')).toBe(whole);
    expect(existsSync(`${made.folder}.lock`)).toBe(false);
  });

  it('does not take an environment whose interpreter is gone', async () => {
    rmSync(made.python);
    expect(await locateEnvironment({ requirements, env })).toBeNull();
  });

  it('says what pip said, and where its log is, when a package cannot be had', async () => {
    const file = join(home, 'impossible.txt');
    writeFileSync(file, './no-such-folder-here\n');
    const failure = await ensureEnvironment({ requirements: [file], env, torch: 'cpu' }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'SETUP_FAILED', exitCode: 3 });
    expect(failure.message).toContain('no-such-folder-here');
    expect(readFileSync(failure.details.log, 'utf8')).toContain('no-such-folder-here');
  });

  it('refuses a folder in its place that it did not make, and does not touch it', async () => {
    const file = join(home, 'other.txt');
    writeFileSync(file, '# other\n');
    const folder = environmentFolder({ requirements: [file], env }, made.pythonVersion, 'cpu');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'mine.txt'), 'mine');
    const attempt = ensureEnvironment({ requirements: [file], env, torch: 'cpu' });
    await expect(attempt).rejects.toMatchObject({ code: 'SETUP_FAILED' });
    expect(readFileSync(join(folder, 'mine.txt'), 'utf8')).toBe('mine');
  });
});

describe('findPython', () => {
  it('says what it looked for and where when PATH has no Python', async () => {
    const failure = await findPython({ PATH: home }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'PYTHON_NOT_FOUND', exitCode: 3 });
    expect(failure.message).toContain(`PATH (${home})`);
    expect(failure.message).toContain('python3: not found');
    expect(failure.hint).toContain('sae-lens-ts setup');
  });

  it('names the version that is too old', async () => {
    const old = join(home, 'python3');
    writeFileSync(old, `#!/bin/sh\necho '["${old}", "3.8.18"]'\n`);
    chmodSync(old, 0o755);
    const failure = await findPython({ PATH: `${home}:/bin`, SAE_LENS_TS_BASE_PYTHON: old }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'PYTHON_TOO_OLD', exitCode: 3 });
    expect(failure.message).toContain('Python 3.8.18');
  });

  it('skips a name that does not start and takes the next', async () => {
    writeFileSync(join(home, 'python3'), '#!/bin/sh\necho "no such version" >&2\nexit 127\n');
    chmodSync(join(home, 'python3'), 0o755);
    symlinkSync((await findPython(env)).executable, join(home, 'python'));
    const found = await findPython({ PATH: `${home}:/bin` });
    expect(found.version).toMatch(/^3\./);
  });
});

describe('SAE_LENS_TS_PYTHON', () => {
  it('is only looked at: a Python without the packages is refused by name and stays as it is', async () => {
    const venv = join(home, 'mine');
    await execa((await findPython(env)).executable, ['-m', 'venv', '--without-pip', venv]);
    const python = join(venv, 'bin', 'python');
    const before = readdirSync(venv);
    const failure = await locateEnvironment({ env: { ...env, SAE_LENS_TS_PYTHON: python } }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'ENVIRONMENT_BROKEN', exitCode: 3 });
    expect(failure.message).toContain('torch');
    expect(readdirSync(venv)).toEqual(before);
  });

  it('is not blamed when it is killed while it is asked', async () => {
    const python = join(home, 'killed');
    writeFileSync(python, '#!/bin/sh\nkill -KILL $$\n', { mode: 0o755 });
    const failure = await locateEnvironment({ env: { ...env, SAE_LENS_TS_PYTHON: python } }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'WORKER_LOST', exitCode: 6, details: { signal: 'SIGKILL' } });
  });

  it('is refused when it does not exist', async () => {
    const failure = await locateEnvironment({ env: { ...env, SAE_LENS_TS_PYTHON: join(home, 'none') } }).catch(
      (e) => e,
    );
    expect(failure).toMatchObject({ code: 'ENVIRONMENT_BROKEN' });
    expect(failure.message).toContain('not found');
  });
});
