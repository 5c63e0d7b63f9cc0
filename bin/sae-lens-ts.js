#!/usr/bin/env node
import { existsSync } from 'node:fs';

const cli = new URL('../dist/cli/main.mjs', import.meta.url);
if (existsSync(cli)) {
  await import(cli.href);
} else {
  process.stderr.write('sae-lens-ts is not built yet (dist/cli/main.mjs is missing).\nNext: node bin/bootstrap.js\n');
  process.exitCode = 3;
}
