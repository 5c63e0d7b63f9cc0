import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const { folder, run } = commandLineForTests();
const SETTINGS = ['--training_tokens', '6400', '--feature_sampling_window', '20', '--eval_every_n_wandb_logs', '2'];
const WEIGHTS = ['sae_weights.safetensors', 'sparsity.safetensors'];

/** What a run says of itself and what it left, without what every run has of its own. */
async function trained(name: string, ...flags: string[]) {
  const { code, stderr } = await run(tinyRun('--name', name, ...SETTINGS, ...flags));
  expect(code, stderr).toBe(0);
  const path = (...parts: string[]): string => join(folder, 'runs', name, ...parts);
  const rows = readFileSync(path('metrics.jsonl'), 'utf8').trimEnd().split('\n');
  const { name: _, created, command, sessions, ...record } = JSON.parse(readFileSync(path('run.json'), 'utf8'));
  return {
    weights: WEIGHTS.map((file) => readFileSync(path('output', file)).toString('base64')),
    metrics: rows.map((row) => JSON.parse(row, (key, value) => (key.startsWith('system/') ? undefined : value))),
    record,
  };
}

it('the same configuration, seed and versions give the same bits, and run.json tells runs apart that differ (P10)', async () => {
  const first = await trained('first');
  const second = await trained('second');
  expect(second).toEqual(first);
  expect(first.metrics.length).toBeGreaterThan(3);
  const same = await run(['compare', 'first', 'second']);
  expect(same.stdout).toMatch(/^options: the same\n\nprovenance: the same\n\nmetrics, the last of each: the same\n/);
  expect(same.stdout).toContain('their weights are the same');
  const { versions, machine, hashes, seed } = first.record;
  const packages = ['node', 'numpy', 'python', 'sae-lens-ts', 'torch', 'transformers', 'transformer-lens', 'datasets'];
  expect(Object.keys(versions)).toEqual(expect.arrayContaining(packages));
  expect(machine).toMatchObject({ device: 'cpu', threads: 1, torch_commit: expect.stringMatching(/^[0-9a-f]{40}$/) });
  expect(machine.cpu_capability).toMatch(/^[A-Z]/);
  expect(Object.keys(hashes).sort()).toEqual(['config', 'dataset_listing', 'model_listing']);
  const other = await trained('other', '--seed', '7');
  expect(other.weights).not.toEqual(first.weights);
  const parted = await run(['compare', 'first', 'other']);
  expect(parted.stdout).toMatch(/^options\n +first +other\n +seed +42 +7\n/);
  expect(parted.stdout).toMatch(/their metrics part at training step 9, in .*; their weights are not the same\n$/);
  expect([seed, other.record.seed]).toEqual([42, 7]);
  expect(other.record.hashes.config).not.toBe(hashes.config);
});
