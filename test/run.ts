/**
 * `npm test`: every test of both languages, and one closing line over both. Arguments go to vitest and pytest alike
 * when they name files: `npm test -- test/unit/config`, `npm test -- test/python/saes`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testEnvironments } from './environments.ts';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const paths = process.argv.slice(2);
const ofPython = paths.filter((path) => path.startsWith('test/python') || path.endsWith('.py'));
const ofNode = paths.filter((path) => !ofPython.includes(path));
const environments = await testEnvironments();
const reports = mkdtempSync(join(tmpdir(), 'sae-lens-ts-test-'));
// Both cores serve the tests' own processes; two torch threads on a busy machine are slower than one.
const env = { ...process.env, ...environments, OMP_NUM_THREADS: '1', PYTHONDONTWRITEBYTECODE: '1' };

/** Runs one language's tests; a runner that broke before it could count has failed. */
function run(command: string, args: string[], read: () => Counts): Counts {
  const { status } = spawnSync(command, args, { stdio: 'inherit', env });
  try {
    const counts = read();
    return status === 0 || counts.failed > 0 ? counts : { ...counts, failed: counts.failed + 1 };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

function python(): Counts {
  const report = join(reports, 'pytest.xml');
  const paths = ofPython.length > 0 ? ofPython : ['test/python'];
  const args = ['-m', 'pytest', '-q', '-rs', `--junitxml=${report}`, ...paths];
  return run(environments.SAE_LENS_TS_PYTHON, args, () => {
    const [suite = ''] = /<testsuite [^>]*>/.exec(readFileSync(report, 'utf8')) ?? [];
    const count = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1]);
    const failed = count('failures') + count('errors');
    return { passed: count('tests') - failed - count('skipped'), failed, skipped: count('skipped') };
  });
}

function node(): Counts {
  const report = join(reports, 'vitest.json');
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...ofNode];
  return run(process.execPath, args, () => {
    const found = JSON.parse(readFileSync(report, 'utf8'));
    return {
      passed: found.numPassedTests,
      failed: found.numFailedTests + (found.numFailedTestSuites > 0 && found.numFailedTests === 0 ? 1 : 0),
      skipped: found.numPendingTests + found.numTodoTests,
    };
  });
}

const counts = [
  ...(ofNode.length > 0 || paths.length === 0 ? [node()] : []),
  ...(ofPython.length > 0 || paths.length === 0 ? [python()] : []),
];
rmSync(reports, { recursive: true });
const sum = (key: keyof Counts): number => counts.reduce((total, part) => total + part[key], 0);
const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
console.log(`\n${sum('passed')} passed, ${sum('failed')} failed${skipped}`);
process.exit(sum('failed') > 0 ? 1 : 0);
