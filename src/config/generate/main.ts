import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GENERATED, staleFiles } from './generated-files.ts';

// `npm run generate` writes what is made from the schemas; with --check it only says what is stale, and fails.
const stale = staleFiles('.');
if (process.argv.includes('--check')) {
  for (const path of stale) console.error(`${path} is stale: run \`npm run generate\``);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const path of stale) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, (GENERATED[path] as () => string)());
    console.log(`wrote ${path}`);
  }
}
