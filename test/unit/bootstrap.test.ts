import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/worker/package-root.ts';

const root = packageRoot();
let clone: string;
const bootstrap = (env: NodeJS.ProcessEnv = {}) =>
  execa(process.execPath, [join(clone, 'bin', 'bootstrap.js')], { all: true, reject: false, env });

/** A small checkout with the real bin, lock, node modules and pages, and two sources. */
beforeAll(() => {
  clone = mkdtempSync(join(tmpdir(), 'slts-clone-'));
  const settings = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsdown.config.ts'];
  for (const name of ['bin', ...settings, 'src/web', 'src/dashboard', 'src/features', 'src/format.ts']) {
    cpSync(join(root, name), join(clone, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  mkdirSync(join(clone, 'src', 'cli'), { recursive: true });
  writeFileSync(join(clone, 'src', 'index.ts'), 'export const answer: number = 42;\n');
  writeFileSync(join(clone, 'src', 'cli', 'main.ts'), "process.stdout.write('the cli ran');\n");
});
afterAll(() => rmSync(clone, { recursive: true, force: true }));

describe('bootstrap', () => {
  it('leaves the start of an unbuilt checkout with a plain word instead of a stack', async () => {
    const cli = await execa(process.execPath, [join(clone, 'bin', 'sae-lens-ts.js')], { reject: false });
    expect(cli.exitCode).toBe(3);
    expect(cli.stderr).toContain('node bin/bootstrap.js');
    expect(cli.stderr).not.toContain('at ');
  });

  it('builds what is not built, without a word on stdout', async () => {
    const built = await bootstrap();
    expect(built.all).toMatch(/^Building: .*$/);
    expect(built.stdout).toBe('');
    expect(built.exitCode).toBe(0);
    const cli = await execa(process.execPath, [join(clone, 'bin', 'sae-lens-ts.js')]);
    expect(cli.stdout).toBe('the cli ran');
    expect(readdirSync(join(clone, 'dist', 'page'))).toEqual(
      expect.arrayContaining(['dashboard.css', 'dashboard.js', 'index.html', 'uPlot.min.css']),
    );
  });

  it('does nothing, and quickly, when nothing changed', async () => {
    const built = statSync(join(clone, 'dist', 'index.mjs')).mtimeMs;
    const started = performance.now();
    const again = await bootstrap();
    expect(performance.now() - started).toBeLessThan(1000);
    expect(again.all).toBe('');
    expect(statSync(join(clone, 'dist', 'index.mjs')).mtimeMs).toBe(built);
  });

  it('builds again when a source changed', async () => {
    writeFileSync(join(clone, 'src', 'index.ts'), 'export const answer: number = 43;\n');
    await bootstrap();
    expect(readFileSync(join(clone, 'dist', 'index.mjs'), 'utf8')).toContain('43');
  });

  it('fails with the build, and tries again the next time', async () => {
    writeFileSync(join(clone, 'src', 'index.ts'), "export * from './nowhere.ts';\n");
    const failed = await bootstrap();
    expect(failed.exitCode).toBe(3);
    expect(failed.all).toContain('nowhere.ts');
    expect((await bootstrap()).exitCode).toBe(3);
  });

  it('installs node modules when they are not what package-lock.json says, and builds nothing without them', async () => {
    const lock = join(clone, 'package-lock.json');
    const text = readFileSync(lock, 'utf8');
    writeFileSync(lock, text.replace(/("node_modules\/zod": \{\s+"version": ")[^"]+/, '$10.0.0'));
    rmSync(join(clone, 'node_modules'));
    // Every fresh clone installs for real; an npm with nothing in its cache and no network fails at once.
    const installed = await bootstrap({ npm_config_offline: 'true', npm_config_cache: join(clone, 'npm-cache') });
    expect(installed.all).toContain('Installing node modules: npm install --no-save');
    expect(installed.all).toContain('Installing node modules failed (exit code ');
    expect(installed.all).not.toContain('Building');
    expect(installed.exitCode).toBe(3);
    expect(existsSync(join(root, 'node_modules', 'zod'))).toBe(true);
  });
});
