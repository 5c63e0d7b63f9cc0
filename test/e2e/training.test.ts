import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { SAE, startWorker } from '../../src/index.ts';
import { commandLineForTests } from '../command-line.ts';
import { hasFixtures, STORIES } from '../shared-folder.ts';

const RUN_MS = 600_000;
const { folder, run } = commandLineForTests();
type Row = Record<string, number> & { step: number };

/** 98 steps on 400 000 tokens of a real model, as issue 3 of the project describes it; returns the rows of metrics. */
async function train(name: string, ...flags: string[]): Promise<Row[]> {
  const ended = await run([
    ...['train', ...STORIES, '--name', name, '--d_in', '64', '--d_sae', '1024', '--lr', '1e-3'],
    ...['--training_tokens', '400000', '--train_batch_size_tokens', '4096', '--context_size', '256'],
    ...['--store_batch_size_prompts', '16', '--n_batches_in_buffer', '16'],
    ...['--n_eval_batches', '4', '--eval_batch_size_prompts', '8', '--eval_every_n_wandb_logs', '5'],
    ...flags,
  ]);
  expect(ended.stderr).toContain('Done: ');
  expect([ended.code, ended.stdout]).toEqual([0, '']);
  await verifyFolder(join(folder, 'runs', name, 'output'));
  return rowsOf(name);
}

function rowsOf(name: string): Row[] {
  const lines = readFileSync(join(folder, 'runs', name, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line));
}

const HF = ['--model_class_name', 'AutoModelForCausalLM', '--hook_name', 'model.layers.2'];
const TL = ['--model_class_name', 'HookedTransformer', '--hook_name', 'blocks.2.hook_resid_post'];
const column = (rows: readonly Row[], key: string): number[] => rows.flatMap((row) => row[key] ?? []);
const first = (rows: readonly Row[], key: string): number => column(rows, key)[0] as number;
const last = (rows: readonly Row[], key: string): number => column(rows, key).at(-1) as number;

describe.skipIf(!hasFixtures)('400 000 tokens of stories260K through the command line (needs ../shared)', () => {
  it.each(['hf', 'tl'])('TopK reaches SAELens’ figures: %s', { timeout: RUN_MS }, async (name) => {
    const rows = await train(name, ...(name === 'hf' ? HF : TL), '--architecture', 'topk', '--k', '16');
    expect(last(rows, 'model_performance_preservation/ce_loss_score')).toBeGreaterThanOrEqual(0.93);
    expect(last(rows, 'reconstruction_quality/explained_variance')).toBeGreaterThanOrEqual(0.86);
    expect(last(rows, 'metrics/l0')).toBe(16);
  });

  it('the Hugging Face hook and the TransformerLens hook give the same curve', () => {
    const [hf, tl] = ['hf', 'tl'].map((name) => column(rowsOf(name), 'losses/mse_loss')) as [number[], number[]];
    expect([hf.length, tl.length]).toEqual([9, 9]);
    for (const [i, loss] of hf.entries()) expect((tl[i] as number) / loss, `row ${i}`).toBeCloseTo(1, 3);
  });

  it.each<[string, string[]]>([
    ['standard', ['--l1_coefficient', '0.5']],
    ['gated', ['--l1_coefficient', '0.5']],
    [
      'jumprelu',
      [
        ...['--jumprelu_sparsity_loss_mode', 'tanh', '--l0_coefficient', '0.1'],
        ...['--jumprelu_bandwidth', '2', '--jumprelu_init_threshold', '0.1'],
      ],
    ],
  ])('%s learns: explained variance rises, L0 falls', { timeout: RUN_MS }, async (architecture, flags) => {
    const rows = await train(architecture, ...HF, '--architecture', architecture, ...flags);
    expect(first(rows, 'metrics/explained_variance')).toBeLessThan(0.6);
    expect(last(rows, 'metrics/explained_variance')).toBeGreaterThan(0.85);
    expect(last(rows, 'metrics/l0')).toBeLessThan(0.5 * first(rows, 'metrics/l0'));
    expect(last(rows, 'reconstruction_quality/explained_variance')).toBeGreaterThan(0.85);
    expect(last(rows, 'sparsity/l0')).toBeLessThan(400);
    expect(last(rows, 'model_performance_preservation/ce_loss_score')).toBeGreaterThan(0.9);
  });

  it.each<[string, string[]]>([
    ['batchtopk', []],
    ['matryoshka_batchtopk', ['--matryoshka_widths', '128', '512']],
  ])('%s is evaluated with the threshold it is saved with', { timeout: RUN_MS }, async (architecture, flags) => {
    const rows = await train(
      architecture,
      ...[...HF, '--architecture', architecture, '--k', '16', '--topk_threshold_lr', '0.1', ...flags],
    );
    expect(last(rows, 'metrics/l0')).toBe(16);
    expect(last(rows, 'sparsity/l0')).not.toBe(16);
    expect(last(rows, 'sparsity/l0')).toBeGreaterThan(12);
    expect(last(rows, 'sparsity/l0')).toBeLessThan(32);
    expect(last(rows, 'reconstruction_quality/explained_variance')).toBeGreaterThan(0.8);
    expect(last(rows, 'model_performance_preservation/ce_loss_score')).toBeGreaterThan(0.9);
  });

  it('every finished SAE loads in TypeScript, and an activation comes back', async () => {
    await using worker = await startWorker();
    for (const name of ['hf', 'tl', 'standard', 'gated', 'jumprelu', 'batchtopk', 'matryoshka_batchtopk']) {
      await using sae = await SAE.loadFromDisk(join(folder, 'runs', name, 'output'), { worker });
      const saved = ['hf', 'tl'].includes(name) ? 'topk' : name.endsWith('batchtopk') ? 'jumprelu' : name;
      expect(sae.architecture).toBe(saved);
      expect(sae.sparsity?.length).toBe(1024);
      // As long as the model's own activations: of a short one the threshold of a BatchTopK SAE lets nothing pass.
      const latents = await sae.encode(new Float32Array(64).fill(2));
      expect(
        latents.some((value) => value > 0),
        name,
      ).toBe(true);
      expect((await sae.decode(latents)).every(Number.isFinite)).toBe(true);
    }
  });
});
