import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { tinyRun } from '../tiny-run.ts';

const LACKING = 'libcudart.so.12: cannot open shared object file';
const { folder, run } = commandLineForTests();

/** An executable of this test file. */
function script(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${lines.join('\n')}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Says what a Python of this version says about itself, and nothing else. */
const ofVersion = (name: string, version: string): string =>
  script(name, '#!/bin/sh', `echo '["${join(folder, name)}", "${version}"]'`);

/** A virtual environment: without any package, or over the tests' own with a torch that lacks a driver library. */
function virtual(name: string, broken: boolean): string {
  const python = join(folder, name, 'bin', 'python');
  execFileSync(pythonForTests(), ['-m', 'venv', '--without-pip', join(folder, name)]);
  if (!broken) return python;
  // All of them: the tests' own environment is laid over the worker's.
  const packages = ['-c', 'import sys; print(*[p for p in sys.path if p.endswith("site-packages")], sep="\\n")'];
  const [own, below] = [python, pythonForTests()].map((one) =>
    execFileSync(one, packages, { encoding: 'utf8' }).trim(),
  );
  writeFileSync(join(own as string, 'over.pth'), `${below}\n`);
  mkdirSync(join(own as string, 'torch'));
  writeFileSync(join(own as string, 'torch', '__init__.py'), `raise ImportError(${JSON.stringify(LACKING)})\n`);
  return python;
}

describe('without a Python that works every command ends with exit code 3 and the way out', () => {
  const managed = { SAE_LENS_TS_PYTHON: undefined, SAE_LENS_TS_HOME: join(folder, 'home') };

  it('no environment is set up', async () => {
    const { code, stderr } = await run(tinyRun(), { env: managed });
    expect(stderr).toMatch(
      /^error ENVIRONMENT_MISSING {2}No Python environment is set up in .*\n\nhint: sae-lens-ts setup\nmore: `sae-lens-ts explain ENVIRONMENT_MISSING`\n$/,
    );
    expect(code).toBe(3);
    const doctor = await run(['doctor'], { env: managed });
    expect(doctor.stdout).toMatch(/FAIL {2}python +no environment is set up\n +fix: sae-lens-ts setup\n/);
    expect(doctor.code).toBe(3);
  });

  it('setup finds no Python at all, or only older ones, and lists where it looked', async () => {
    const none = await run(['setup'], { env: { ...managed, PATH: join(folder, 'empty') } });
    expect(none.stderr).toMatch(
      /error PYTHON_NOT_FOUND {2}No Python 3\.10 or newer [\s\S]*\n {2}python3: not found\n[\s\S]*hint: /,
    );
    ofVersion('old/python3', '3.8.18');
    const old = await run(['setup'], { env: { ...managed, PATH: join(folder, 'old') } });
    expect(old.stderr).toMatch(/error PYTHON_TOO_OLD[\s\S]*python3: Python 3\.8\.18 at \/[\s\S]*hint: /);
    expect([none.code, old.code]).toEqual([3, 3]);
  });

  it.each<[string, () => string, string, RegExp]>([
    ['points nowhere', () => '/no/such/python', 'ENVIRONMENT_BROKEN', /is \/no\/such\/python: not found/],
    ['is too old', () => ofVersion('python3.8', '3.8.18'), 'PYTHON_TOO_OLD', /, Python 3\.8\.18/],
    ['is no Python', () => script('cat', '#!/bin/sh', 'echo meow'), 'ENVIRONMENT_BROKEN', /answered "meow"/],
    ['has no torch', () => virtual('bare', false), 'ENVIRONMENT_BROKEN', /which lacks: torch /],
  ])('SAE_LENS_TS_PYTHON %s: train and doctor say the same', async (_, make, code, words) => {
    const env = { SAE_LENS_TS_PYTHON: make() };
    const train = await run(tinyRun(), { env });
    expect(train.stderr).toContain(`error ${code}  SAE_LENS_TS_PYTHON is `);
    expect(train.stderr).toMatch(words);
    expect(train.stderr).toContain('hint: Point SAE_LENS_TS_PYTHON at a Python with');
    const doctor = await run(['doctor'], { env });
    expect(doctor.stdout).toContain('FAIL  python');
    expect(doctor.stdout).toMatch(words);
    expect([train.code, doctor.code]).toEqual([3, 3]);
  });

  it('a torch that cannot be imported: train and doctor say the same', async () => {
    const env = { SAE_LENS_TS_PYTHON: virtual('broken', true) };
    const train = await run(tinyRun(), { env });
    expect(train.stderr).toMatch(
      /error ENVIRONMENT_BROKEN {2}.* cannot import what training needs: ImportError: libcudart\.so\.12.*\n\nhint: sae-lens-ts doctor/,
    );
    const doctor = await run(['doctor'], { env });
    expect(doctor.stdout).toMatch(/FAIL {2}torch +cannot be imported: .*libcudart\.so\.12/);
    expect([train.code, doctor.code]).toEqual([3, 3]);
  });
});
