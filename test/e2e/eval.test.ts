import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const { folder, run } = commandLineForTests();
const RUN = ['--training_tokens', '6400', '--n_eval_batches', '3', '--feature_sampling_window', '20'];
const METRICS = 'model_performance_preservation/ce_loss_score';

beforeAll(async () => {
  const threshold = ['--architecture', 'batchtopk', '--k', '4', '--topk_threshold_lr', '0.1'];
  for (const flags of [
    ['--name', 'plain'],
    ['--name', 'threshold', ...threshold],
  ]) {
    const { code, stderr } = await run(tinyRun(...RUN, ...flags));
    expect(code, stderr).toBe(0);
  }
});

async function evaluated(...words: string[]) {
  const { code, stdout, stderr } = await run(['eval', ...words, '--json']);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** A JSON Schema under which no object has keys that it does not name. */
function closed(schema: unknown): z.core.JSONSchema.JSONSchema {
  return JSON.parse(JSON.stringify(schema), (_, value) =>
    value?.properties === undefined ? value : { ...value, additionalProperties: false },
  );
}

describe('eval', () => {
  it('gives for a run what it said itself at its end, on the sequences it held out', async () => {
    const rows = readFileSync(join(folder, 'runs/plain/metrics.jsonl'), 'utf8').trimEnd().split('\n');
    const last = rows.map((row) => JSON.parse(row)).findLast((row) => METRICS in row);
    const { results } = await evaluated('runs/plain');
    const [{ metrics, intervals, text, n_prompts }] = results;
    expect({ text, n_prompts }).toEqual({ text: 'held_out', n_prompts: 6 });
    for (const [name, value] of Object.entries(last)) {
      if (!name.includes('/') || name.startsWith('system/') || name.startsWith('details/')) continue;
      expect(metrics[name], name).toBeCloseTo(value as number, 4);
    }
    const [low, high] = intervals[METRICS];
    expect(low).toBeLessThan(metrics[METRICS]);
    expect(high).toBeGreaterThan(metrics[METRICS]);
  });

  it('shows several side by side, only the metrics that were asked for, an SAE with a threshold as it is used', async () => {
    const { code, stdout, stderr } = await run([
      'eval',
      'runs/plain',
      'runs/threshold',
      '--metrics',
      'l0,ce_loss_score',
      '--plot',
      'front.svg',
    ]);
    expect(code, stderr).toBe(0);
    const [heads, ...lines] = stdout.split('\n');
    expect(heads).toMatch(/^ +plain +threshold$/);
    expect(lines.filter((line) => line.includes('/l0') || line.includes('ce_loss'))).toHaveLength(2);
    expect(readFileSync(join(folder, 'front.svg'), 'utf8').match(/<circle /g)).toHaveLength(2);
    expect(stdout).not.toContain('kl_div');
    expect(stdout).toMatch(/held out by the run, never trained on\): 6 sequences of 32 tokens, 3 batches/);
    const { results } = await evaluated('runs/threshold', '--metrics', 'l0');
    expect(results[0].architecture).toBe('jumprelu');
    expect(results[0].metrics['sparsity/l0']).not.toBe(4);
  });

  it('reads a dataset that is named, as many batches as are asked for', async () => {
    const text = ['--dataset_path', join(folder, 'other.jsonl'), '--batch_size_prompts', '4'];
    const words = readFileSync(join(folder, 'runs/plain/config.yaml'), 'utf8');
    const [, own = ''] = /^dataset_path: "?([^"#\n]+?)"? *(?:#|$)/m.exec(words) ?? [];
    writeFileSync(join(folder, 'other.jsonl'), readFileSync(own, 'utf8').split('\n').slice(5).join('\n'));
    const { results } = await evaluated('runs/plain', ...text, '--n_eval_reconstruction_batches', '2');
    expect(results[0]).toMatchObject({ text: 'named', n_prompts: 8 });
  });

  it('writes the core JSON of SAEBench, as its own schema has it, a file for each SAE', async () => {
    const { code, stderr } = await run(['eval', 'runs/plain', 'runs/threshold', '--output', 'bench']);
    expect(code, stderr).toBe(0);
    const made = JSON.parse(readFileSync(join(folder, 'bench/plain_eval_results.json'), 'utf8'));
    expect(existsSync(join(folder, 'bench/threshold_eval_results.json'))).toBe(true);
    expect(made).toMatchObject({ eval_type_id: 'core', eval_config: { context_size: 32 }, sae_lens_id: 'plain' });
    // By SAEBench's own classes (make_schema.py), and with nothing beside what they have.
    const schema = z.fromJSONSchema(
      closed(JSON.parse(readFileSync('test/fixtures/saebench/core.schema.json', 'utf8'))),
    );
    expect(schema.safeParse(made).error).toBeUndefined();
    for (const damaged of [
      { eval_result_metrics: {} },
      { sae_lens_id: 5 },
      { eval_config: { more: 1 } },
      { more: 1 },
    ]) {
      expect(schema.safeParse({ ...made, ...damaged }).success).toBe(false);
    }
    expect(made.eval_result_details).toHaveLength(64);
    expect(made.eval_result_details[0]).toMatchObject({ index: 0, feature_density: expect.any(Number) });
  });

  it.each([
    ['a path that is not there', ['nowhere'], 'there is no such file or folder', 2],
    ['a folder with something else', ['empty'], 'SAE_INVALID', 4],
    ['a metric that is none', ['runs/plain', '--metrics', 'l9'], 'did you mean l0', 2],
    [
      'a longer context than the run held out',
      ['runs/plain', '--context_size', '64'],
      'those its run held out have 32',
      2,
    ],
    [
      'SAEBench without its metrics',
      ['runs/plain', '--metrics', 'l0', '--output', 'x'],
      'its schema wants every metric',
      2,
    ],
    ['a plot without its metrics', ['runs/plain', '--metrics', 'mse', '--plot', 'x.svg'], 'it shows l0 against', 2],
    ['a split of nothing', ['runs/plain', '--dataset_split', 'test'], 'has no effect without dataset_path', 2],
  ])('refuses %s, before anything is started', async (_, words, message, exitCode) => {
    mkdirSync(join(folder, 'empty'), { recursive: true });
    const { code, stderr, seconds } = await run(['eval', ...words]);
    expect(stderr).toContain(message);
    expect(code).toBe(exitCode);
    expect(seconds).toBeLessThan(5);
  });
});
