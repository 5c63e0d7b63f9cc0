import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('the package holds the sources of the worker and not their bytecode, which tells where it was made', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slts-package-'));
  cpSync('package.json', join(folder, 'package.json'));
  const compiled = ['pyworker/__pycache__', 'pyworker/train/__pycache__'];
  for (const cache of compiled) {
    mkdirSync(join(folder, cache), { recursive: true });
    writeFileSync(join(folder, cache, 'loop.cpython-311.pyc'), '');
  }
  writeFileSync(join(folder, 'pyworker/train/loop.py'), '');
  const answer = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: folder, encoding: 'utf8' });
  const [{ files }] = JSON.parse(answer) as [{ files: { path: string }[] }];
  expect(files.map(({ path }) => path)).toEqual(['package.json', 'pyworker/train/loop.py']);
  rmSync(folder, { recursive: true });
});
