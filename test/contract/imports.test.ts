import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

test('imports go one way and each outside library has one door', async () => {
  const depcruise = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const outcome = await run(
    process.execPath,
    [depcruise, 'src', '--config', 'test/contract/import-rules.cjs', '--output-type', 'json'],
    { cwd: root, maxBuffer: 64 << 20 },
  ).catch((error: { stdout: string }) => error);
  const { summary, modules } = JSON.parse(outcome.stdout);
  expect(modules.length).toBeGreaterThan(20);
  const breaches = summary.violations.map(
    (v: { rule: { name: string }; from: string; to: string }) => `${v.rule.name}: ${v.from} → ${v.to}`,
  );
  expect(breaches).toEqual([]);
});

/** Outside Python libraries that have one door, and the folder or file that is it. */
const PYTHON_DOORS: Record<string, RegExp> = {
  transformers: /^pyworker\/lm\//,
  transformer_lens: /^pyworker\/lm\//,
  datasets: /^pyworker\/data\//,
  zmq: /^pyworker\/(channel|serve)\.py$/,
  pyarrow: /^pyworker\/(protocol\/frames\.py$|data\/)/,
  gguf: /^pyworker\/lm\/gguf\.py$/,
  fsspec: /^pyworker\/data\/broken_line\.py$/,
  tokenizers: /^pyworker\/(lm\/gguf|text_encoding)\.py$/,
  triton: /^pyworker\/kernels\/triton_kernels\.py$/,
  wandb: /^pyworker\/facade\/wandb_run\.py$/,
};

test('the worker keeps its doors and never runs pickles or remote code; files of torch have one door, for tensors alone', async () => {
  const files = (await readdir(join(root, 'pyworker'), { recursive: true })).filter((f) => f.endsWith('.py'));
  expect(files.length).toBeGreaterThan(20);
  const breaches: string[] = [];
  for (const file of files) {
    const path = `pyworker/${file}`;
    const source = await readFile(join(root, path), 'utf8');
    for (const [library, place] of Object.entries(PYTHON_DOORS)) {
      const imported = new RegExp(`^\\s*(import|from) ${library}\\b`, 'm').test(source);
      if (imported && !place.test(path)) breaches.push(`${path} imports ${library}`);
    }
    const pickles =
      path === 'pyworker/saes/readers/torch_file.py' ? /\btorch\.load\((?!.*weights_only=True\))/ : /\btorch\.load\(/;
    for (const forbidden of [pickles, /^\s*(import|from) pickle\b/m, /trust_remote_code\s*=\s*True/]) {
      if (forbidden.test(source)) breaches.push(`${path} contains ${forbidden.source}`);
    }
  }
  expect(breaches).toEqual([]);
});

test('the command line writes through one door, which takes from words of others what terminals obey', async () => {
  const files = (await readdir(join(root, 'src/cli'), { recursive: true })).filter((file) => file.endsWith('.ts'));
  const writers: string[] = [];
  for (const file of files) {
    const source = await readFile(join(root, 'src/cli', file), 'utf8');
    if (/process\.std(out|err)\.write|console\./.test(source)) writers.push(file);
  }
  expect(writers).toEqual(['output.ts']);
});

test('no file has more than 400 lines', async () => {
  const long: string[] = [];
  for (const folder of ['src', 'pyworker', 'test', 'bin']) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if (!/\.(ts|js|mjs|cjs|py|css)$/.test(file)) continue;
      const lines = (await readFile(join(root, folder, file), 'utf8')).split('\n').length - 1;
      if (lines > 400) long.push(`${folder}/${file}: ${lines}`);
    }
  }
  expect(long).toEqual([]);
});
