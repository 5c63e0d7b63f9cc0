// Runs a TypeScript program of the tests: `node test/program.mjs test/golden/run.ts ARGS`. Node 20 does not read
// TypeScript; vite, which vitest brings, does.
import { resolve } from 'node:path';
import { runnerImport } from 'vite';

const [node, , program, ...args] = process.argv;
process.argv = [node, resolve(program), ...args];
await runnerImport(resolve(program), { configFile: false, logLevel: 'error' });
