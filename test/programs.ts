import { fileURLToPath } from 'node:url';
import { build } from 'tsdown';

/**
 * Bundles a program of test/fixtures/programs for a plain `node`; returns the file to run. It lies under node_modules,
 * where it finds the libraries and git does not look.
 */
export async function program(name: string): Promise<string> {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const outDir = `${root}node_modules/.cache/test-programs/${name}-${process.pid}`;
  await build({
    config: false,
    cwd: root,
    entry: { [name]: `${root}test/fixtures/programs/${name}.ts` },
    outDir,
    format: 'esm',
    platform: 'node',
    dts: false,
    logLevel: 'error',
  });
  return `${outDir}/${name}.mjs`;
}
