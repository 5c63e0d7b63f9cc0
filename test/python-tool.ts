/** Runs a Python tool of the test environment: `node test/program.mjs test/python-tool.ts ruff check`. */
import { spawnSync } from 'node:child_process';
import { testEnvironments } from './environments.ts';

const environments = await testEnvironments();
const { status } = spawnSync(environments.SAE_LENS_TS_PYTHON, ['-m', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, ...environments, PYTHONDONTWRITEBYTECODE: '1' },
});
process.exit(status ?? 1);
