/**
 * `npm run bench -- step|run|data [flags]`: our speed against SAELens 6.54.12, measured here and now. One table on
 * stdout, or JSON with `--json`; other flags go to the program in test/bench that measures.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { testEnvironments } from '../environments.ts';
import { hasFixtures, SHARED } from '../shared-folder.ts';

interface Side {
  median: number;
  range: [number, number];
}
interface Result {
  shape: string;
  load: [number[], number[]];
  measures: Record<string, { unit: string; ours: Side; saelens: Side; ratio: number }>;
}

const [what = '', ...words] = process.argv.slice(2);
const flags = words.filter((word) => word !== '--json');
const python = await testEnvironments();
const env = { ...process.env, ...python, PYTHONDONTWRITEBYTECODE: '1' };

function measure(interpreter: string, program: string, ...args: string[]): Result {
  const { status, stdout } = spawnSync(interpreter, [join('test/bench', program), ...args, ...flags], {
    env: interpreter === python.SAE_LENS_TS_PYTHON ? { ...env, OMP_NUM_THREADS: '1' } : env,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return JSON.parse(stdout);
}

function data(): Result[] {
  if (!hasFixtures) throw new Error(`the text and the model of this benchmark are not at ${SHARED}`);
  const judge = ['--judge', python.SAE_LENS_TS_JUDGE_PYTHON];
  const text = join(SHARED, 'fixtures/datasets/tinystories/train.parquet');
  const tokenizer = join(SHARED, 'fixtures/models/stories260K');
  const ours = python.SAE_LENS_TS_PYTHON;
  return [
    measure(ours, 'data/pretokenize.py', ...judge, '--tokenizer', tokenizer, '--text', text),
    measure(ours, 'data/cache-activations.py', ...judge),
    measure(ours, 'data/train-from-cache.py', ...judge),
  ];
}

/** Both sides run in the process of SAELens, which our step needs nothing of. */
const step = (): Result[] => [measure(python.SAE_LENS_TS_JUDGE_PYTHON, 'step.py')];

/** The command line against a script with SAELens' runner; `--model` and what belongs to it choose another. */
function run(): Result[] {
  if (!hasFixtures) throw new Error(`the text and the model of this benchmark are not at ${SHARED}`);
  return [
    measure(
      python.SAE_LENS_TS_PYTHON,
      'run.py',
      ...['--judge', python.SAE_LENS_TS_JUDGE_PYTHON],
      ...['--model', join(SHARED, 'fixtures/models/stories260K')],
      ...['--text', join(SHARED, 'fixtures/datasets/tinystories/train.parquet')],
    ),
  ];
}

const programs: Record<string, () => Result[]> = { step, run, data };
const program = programs[what];
if (program === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(programs).join('|')} [--json] [flags of the program]`);
  process.exit(2);
}
const results = program();
if (words.includes('--json')) console.log(JSON.stringify(results, null, 2));
else for (const result of results) print(result);

function print({ shape, load, measures }: Result): void {
  const loads = load.map(([minute]) => (minute as number).toFixed(1)).join(' to ');
  console.log(`\n${shape}; ${cpus().length} cores, load ${loads}\n`);
  console.log('| measure | unit | ours | SAELens | ratio |\n|---|---|---|---|---|');
  for (const [name, { unit, ours, saelens, ratio }] of Object.entries(measures)) {
    console.log(`| ${name} | ${unit} | ${side(ours)} | ${side(saelens)} | ${ratio} |`);
  }
}

function side({ median, range }: Side): string {
  const short = (value: number) => Number(value.toPrecision(4)).toLocaleString('en').replaceAll(',', ' ');
  return `${short(median)} (${range.map(short).join('–')})`;
}
