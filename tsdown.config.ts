import { defineConfig } from 'tsdown';

// Two faces: the library with its types, and the CLI. The CLI keeps every heavy library behind a
// dynamic import, so that `--help` and config errors answer in a few dozen milliseconds.
export default defineConfig({
  entry: { index: 'src/index.ts', 'cli/main': 'src/cli/main.ts' },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  dts: true,
  clean: true,
});
