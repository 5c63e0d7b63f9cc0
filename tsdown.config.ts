import { defineConfig } from 'tsdown';

const shared = { format: 'esm', platform: 'node', target: 'node20' } as const;

// Two faces: the library with its types, and the CLI. The CLI keeps every heavy library behind a dynamic import, and
// bundles the small ones: read as one file instead of a hundred, `--help` and config errors answer at once.
export default defineConfig([
  { ...shared, entry: { index: 'src/index.ts' }, dts: true, clean: ['dist/*.mjs', 'dist/*.mts'] },
  {
    ...shared,
    entry: { main: 'src/cli/main.ts' },
    outDir: 'dist/cli',
    dts: false,
    deps: { alwaysBundle: ['commander', 'fastest-levenshtein', 'yaml', 'zod'], onlyBundle: false },
  },
  // The page of the dashboard: all it loads lies beside it.
  {
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    entry: { dashboard: 'src/dashboard/page/main.ts' },
    outDir: 'dist/page',
    outExtensions: () => ({ js: '.js' }),
    tsconfig: 'src/dashboard/page/tsconfig.json',
    minify: true,
    dts: false,
    deps: { alwaysBundle: ['uplot'] },
    copy: [
      { from: 'src/dashboard/page/index.html', to: 'dist/page' },
      { from: 'src/web/page/theme.css', to: 'dist/page' },
      { from: 'src/dashboard/page/dashboard.css', to: 'dist/page' },
      { from: 'node_modules/uplot/dist/uPlot.min.css', to: 'dist/page' },
    ],
  },
  // The page of features, which opens from disk too: there a browser runs no modules.
  {
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    entry: { features: 'src/features/page/main.ts' },
    outDir: 'dist/features-page',
    outputOptions: { entryFileNames: '[name].js' },
    tsconfig: 'src/features/page/tsconfig.json',
    minify: true,
    dts: false,
    copy: [
      { from: 'src/features/page/index.html', to: 'dist/features-page' },
      { from: 'src/web/page/theme.css', to: 'dist/features-page' },
      { from: 'src/features/page/features.css', to: 'dist/features-page' },
      { from: 'src/features/page/text.css', to: 'dist/features-page' },
    ],
  },
]);
