import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { namedSaes } from '../../src/runners/upload.ts';
import { SAE } from '../../src/sae/sae.ts';
import { commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const { folder, run } = commandLineForTests();
const RUN_MS = 120_000;
const SAES = {
  wide: { d_sae: 96, k: 6, lr: 1e-3 },
  plain: { architecture: 'standard', l1_coefficient: 0.3, lr_warm_up_steps: 4 },
};
const LOGGED = [
  ...['--wandb_log_frequency', '2', '--eval_every_n_wandb_logs', '2', '--n_checkpoints', '1'],
  ...['--normalize_activations', 'expected_average_only_in'],
];
const at = (...path: string[]): string => join(folder, 'runs', ...path);
const rowsOf = (name: string): Record<string, unknown>[] =>
  readFileSync(at(name, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
/** What is measured of the process is not the same twice. */
const numbers = ({ sae: _, ...row }: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([key]) => !key.startsWith('system/')));

describe('two SAEs of different architecture, width and learning rate on one pass of the language model', () => {
  it('is one run, from a file, with a folder for each', { timeout: RUN_MS }, async () => {
    const config = join(folder, 'saes.yaml');
    writeFileSync(config, JSON.stringify({ saes: SAES }));
    const ended = await run([...tinyRun('--config', config, '--name', 'both', '--json', ...LOGGED)]);
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).toMatch(/ {2}wide .* of 96\n {2}plain .* of 64\n/);
    for (const place of ['output', join('checkpoints', '768')]) {
      const names = readdirSync(at('both', place));
      expect(names.filter((name) => name in SAES).sort()).toEqual(['plain', 'wide']);
      // What goes on from a checkpoint needs all of it, and what belongs to no SAE in particular.
      expect(names.includes('training_state.safetensors')).toBe(place !== 'output');
      if (place !== 'output') await verifyFolder(at('both', place));
      for (const name of Object.keys(SAES)) await verifyFolder(at('both', place, name));
    }
    const events = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const of = (kind: string) => events.filter(({ event }) => event === kind);
    expect(of('header')[0]).toMatchObject({ architecture: 'topk+standard', saes: { wide: { d_sae: 96 } } });
    expect(of('started')[0]).toMatchObject({ d_sae: 160, saes: { wide: { d_sae: 96 }, plain: { d_sae: 64 } } });
    expect(of('checkpoint').map(({ sae, final }) => [sae, final])).toEqual([
      ['wide', false],
      ['plain', false],
      ['wide', true],
      ['plain', true],
    ]);
  });

  it.each(Object.keys(SAES) as (keyof typeof SAES)[])(
    '%s is bit for bit that of a run of its own, with its metrics and its configuration',
    { timeout: RUN_MS },
    async (name) => {
      const own: Record<string, unknown> = { ...SAES[name] };
      const flags = Object.entries(own).flatMap(([key, value]) => [`--${key}`, String(value)]);
      const base = name === 'plain' ? ['--architecture', 'standard'] : [];
      const ended = await run([...tinyRun(...base, ...flags, '--name', name, ...LOGGED)]);
      expect(ended.code, ended.stderr).toBe(0);
      for (const place of ['output', join('checkpoints', '768')]) {
        for (const file of ['sae_weights.safetensors', 'sparsity.safetensors', 'cfg.json']) {
          expect(readFileSync(at('both', place, name, file)), file).toEqual(readFileSync(at(name, place, file)));
        }
      }
      const ofBoth = rowsOf('both').filter(({ sae }) => sae === name);
      expect(ofBoth.map(numbers)).toEqual(rowsOf(name).map(numbers));
      expect(ofBoth.some((row) => 'model_performance_preservation/ce_loss_score' in row)).toBe(true);
      const [together, alone] = [at('both', 'output', name), at(name, 'output')].map((place) =>
        JSON.parse(readFileSync(join(place, 'runner_cfg.json'), 'utf8')),
      );
      expect({ ...together, logger: null }).toEqual({ ...alone, logger: null });
    },
  );

  it('each loads by its folder; the folder of both says which there are', { timeout: RUN_MS }, async () => {
    await using wide = await SAE.loadFromDisk(at('both', 'output', 'wide'));
    expect([wide.architecture, wide.dSae]).toEqual(['topk', 96]);
    await using plain = await SAE.loadFromDisk(at('both', 'output', 'plain'));
    expect([plain.architecture, plain.dSae]).toEqual(['standard', 64]);
    await expect(SAE.loadFromDisk(at('both', 'output'))).rejects.toMatchObject({
      code: 'SAE_INVALID',
      message: expect.stringContaining('it holds several, plain, wide'),
      hint: `name one: ${at('both', 'output', 'plain')}`,
    });
  });

  it('an upload of the run gives each a folder', async () => {
    expect(await namedSaes([`${at('both')}=mine`])).toEqual({
      'mine/plain': at('both', 'output', 'plain'),
      'mine/wide': at('both', 'output', 'wide'),
    });
    expect(Object.keys(await namedSaes([at('both')]))).toEqual(['model.layers.0/plain', 'model.layers.0/wide']);
  });

  it('another run begins from one of them, and is told to name it', async () => {
    const all = await run(['train', '--from', at('both'), '--dry-run']);
    expect(all.code).toBe(2);
    expect(all.stderr).toContain('it is a run of several SAEs, wide, plain');
    expect(all.stderr).toContain(`name one, by its folder: ${at('both', 'output', 'wide')}`);
    const one = await run(['train', '--from', at('both', 'output', 'wide'), '--log_to_wandb', 'false', '--dry-run']);
    expect(one.stdout).toContain('topk k=6 · d_in of the model → 96 latents');
  });

  it('the plan and the printed configuration have both, and the latter is a configuration', async () => {
    const flags = ['--saes', JSON.stringify(SAES), '--d_in', '32'];
    const plan = await run([...tinyRun(...flags), '--dry-run']);
    expect(plan.stdout).toMatch(/ sae {6}wide · topk k=6 · 32 → 96 latents · lr 0.001 · weights 25.1 kB\n/);
    expect(plan.stdout).toMatch(
      / sae {6}plain · standard · 32 → 64 latents · lr 0.0003 · warm-up 4 · weights 16.8 kB\n/,
    );
    expect(plan.stdout).toMatch(/ memory {3}weights 41.9 kB /);
    const [, ...options] = tinyRun(...flags);
    const printed = await run(['config', 'print', ...options]);
    expect(printed.stdout).toMatch(/\n {2}wide:\n {4}architecture: "topk" .*\n/);
    expect(printed.stdout).toMatch(/\n {4}d_sae: 96 +# flags --saes\n/);
    const file = join(folder, 'printed.yaml');
    writeFileSync(file, printed.stdout);
    const again = await run(['train', file, '--dry-run', '--json']);
    const first = await run([...tinyRun(...flags), '--dry-run', '--json']);
    expect(JSON.parse(again.stdout).config).toEqual(JSON.parse(first.stdout).config);
  });
});
