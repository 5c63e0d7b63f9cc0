/**
 * `npm test`: every test of both languages, and one closing line over both. Arguments go to vitest and pytest alike
 * when they name files: `npm test -- test/unit/config`, `npm test -- test/python/saes`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { testEnvironments } from './environments.ts';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** What failed, said again at the very end: of an hour's output CI keeps the tail. */
  failures: string[];
}

/** What is read of vitest's JSON report. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numFailedTestSuites: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; assertionResults: { fullName: string; status: string }[] }[];
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
    if (status === 0 || counts.failed > 0) return counts;
    return { ...counts, failed: counts.failed + 1, failures: [`${command} ended with ${status}`] };
  } catch {
    return { passed: 0, failed: 1, skipped: 0, failures: [`${command} left no report of its tests`] };
  }
}

function python(): Counts {
  const report = join(reports, 'pytest.xml');
  const paths = ofPython.length > 0 ? ofPython : ['test/python'];
  const workers = paths.length === 1 && paths[0]?.endsWith('.py') ? 0 : availableParallelism();
  const spread = ['-n', String(workers), '--dist', 'loadfile'];
  const args = ['-m', 'pytest', '-q', '-rs', ...spread, `--junitxml=${report}`, ...paths];
  return run(environments.SAE_LENS_TS_PYTHON, args, () => {
    const found = readFileSync(report, 'utf8');
    const [suite = ''] = /<testsuite [^>]*>/.exec(found) ?? [];
    const count = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1]);
    const failed = count('failures') + count('errors');
    const failures = [...found.matchAll(/<testcase classname="([^"]*)" name="([^"]*)"[^>]*><(?:failure|error)/g)];
    return {
      passed: count('tests') - failed - count('skipped'),
      failed,
      skipped: count('skipped'),
      failures: failures.map(([, file, title]) => `${file}: ${title}`),
    };
  });
}

function node(): Counts {
  const report = join(reports, 'vitest.json');
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...ofNode];
  return run(process.execPath, args, () => {
    const found: VitestReport = JSON.parse(readFileSync(report, 'utf8'));
    const failures = found.testResults.flatMap(({ name, status, assertionResults }) => {
      const tests = assertionResults.filter((test) => test.status === 'failed').map((test) => test.fullName);
      const titles = tests.length === 0 && status === 'failed' ? ['the file itself'] : tests;
      return titles.map((title) => `${relative('', name)}: ${title}`);
    });
    return {
      passed: found.numPassedTests,
      failed: found.numFailedTests + (found.numFailedTestSuites > 0 && found.numFailedTests === 0 ? 1 : 0),
      skipped: found.numPendingTests + found.numTodoTests,
      failures,
    };
  });
}

const counts = [
  ...(ofNode.length > 0 || paths.length === 0 ? [node()] : []),
  ...(ofPython.length > 0 || paths.length === 0 ? [python()] : []),
];
rmSync(reports, { recursive: true });
const sum = (key: 'passed' | 'failed' | 'skipped'): number => counts.reduce((total, part) => total + part[key], 0);
const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
for (const failure of counts.flatMap(({ failures }) => failures)) console.log(`failed: ${failure}`);
console.log(`\n${sum('passed')} passed, ${sum('failed')} failed${skipped}`);
process.exit(sum('failed') > 0 ? 1 : 0);
