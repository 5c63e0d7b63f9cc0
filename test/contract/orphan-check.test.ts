import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import config from '../../vitest.config.ts';

test('every file of tests ends with the orphan check, and one that leaves a process behind fails', async () => {
  expect(config.test?.setupFiles).toEqual(['test/orphan-check.ts']);
  const folder = mkdtempSync(join(tmpdir(), 'leaves-'));
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  const test = { include: ['*.test.mjs'], setupFiles: [resolve('test/orphan-check.ts')] };
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify({ test })};`);
  writeFileSync(
    join(folder, 'leaves.test.mjs'),
    `import { spawn } from 'node:child_process';
     import { test } from 'vitest';
     test('passes', () => spawn('sleep', ['20'], { detached: true, stdio: 'ignore' }).unref());`,
  );
  const { exitCode, all } = await execa(process.execPath, [resolve('node_modules/vitest/vitest.mjs'), 'run'], {
    cwd: folder,
    all: true,
    reject: false,
    env: { NO_COLOR: '1' },
  });
  expect(all).toContain('processes left behind');
  expect(all).toMatch(/Tests +1 passed/);
  expect(exitCode).toBe(1);
  const [, pid] = /\+ +(\d+),/.exec(all ?? '') ?? [];
  process.kill(Number(pid), 'SIGKILL');
  rmSync(folder, { recursive: true });
});
