import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readDataFile } from '../../src/features/data-file.ts';
import type { About, LatentDetail, LatentTable } from '../../src/features/format.ts';
import { chunkName } from '../../src/features/layout.ts';
import { commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const { folder, run, start } = commandLineForTests();
const made = join(folder, 'runs/plain/features');
const FEW = ['--n_tokens', '2000', '--batch_size_prompts', '8', '--buffer', '6', '3'];

async function features(...words: string[]) {
  const { code, stdout, stderr } = await run(['features', 'runs/plain', ...words, '--json']);
  return { code, stderr, ...JSON.parse(stdout) };
}

beforeAll(async () => {
  const { code, stderr } = await run(tinyRun('--training_tokens', '6400', '--name', 'plain'));
  expect(code, stderr).toBe(0);
});

describe('features', () => {
  let about: About;
  let table: LatentTable;
  const latents: LatentDetail[] = [];

  beforeAll(async () => {
    const result = await features(...FEW, '--export', 'neuronpedia');
    expect(result.code, result.stderr).toBe(0);
    about = await readDataFile(join(made, 'data/about.js'), 'about');
    expect(result.features).toEqual([{ folder: 'runs/plain/features', about }]);
    table = await readDataFile(join(made, 'data/latents.js'), 'latents');
    for (let n = 0; n * about.latents_per_chunk < about.n_latents; n++) {
      latents.push(...(await readDataFile(join(made, 'data', chunkName(n)), 'chunk')));
    }
  });

  it('makes of a run a folder of data that its own schema reads, a row and a place in a chunk for each latent', () => {
    expect(about).toMatchObject({
      ...{ name: 'plain', text: 'training', context_size: 32, layer: 0, d_sae: 64, n_latents: 64, no_logits: null },
      ...{ n_sequences: 62, command: expect.stringMatching(/^sae-lens-ts features runs\/plain --n_tokens 2000/) },
    });
    expect(about.n_tokens + about.n_excluded_tokens).toBe(62 * 32);
    expect(latents.map(({ index }) => index)).toEqual(table.index);
    expect(table.density.filter((density) => density === 0)).toHaveLength(about.n_dead);
  });

  it('tells of each latent the same in all places', () => {
    for (const [row, latent] of latents.entries()) {
      const active = latent.activation_histogram.counts.reduce((sum, one) => sum + one, 0);
      expect(active / about.n_tokens).toBeCloseTo(table.density[row] as number, 4);
      const [top, ...ranges] = latent.groups;
      expect(ranges.reduce((sum, { count }) => sum + count, 0)).toBe(active);
      if (top === undefined) continue;
      const [first] = top.examples;
      expect(first?.values[first.peak]).toBe(table.max_activation[row]);
      expect(table.top_tokens[row]?.[0]).toBe(first?.tokens[first.peak]);
      expect(top.examples).toHaveLength(Math.min(15, top.count));
      for (const { low, high, count, examples } of ranges) {
        expect(examples).toHaveLength(Math.min(5, count));
        for (const { tokens, values, peak, position } of examples) {
          const value = values[peak] as number;
          expect(value >= (low as number) * 0.9999 && value <= (high as number)).toBe(true);
          expect([values.length, peak]).toEqual([tokens.length, Math.min(6, position)]);
          expect(tokens.length).toBe(peak + 1 + Math.min(3, 31 - position));
        }
      }
      expect(latent.logit_histogram?.counts.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(50);
      expect(latent.similar).toHaveLength(10);
    }
  });

  it('vouches for every file', () => {
    const { kind, files } = JSON.parse(readFileSync(join(made, 'manifest.json'), 'utf8'));
    expect(kind).toBe('features');
    const there = readdirSync(made, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
    expect(Object.keys(files)).toHaveLength(there.length - 1);
    for (const [path, { sha256 }] of Object.entries<{ sha256: string }>(files)) {
      expect(
        createHash('sha256')
          .update(readFileSync(join(made, path)))
          .digest('hex'),
      ).toBe(sha256);
    }
  });

  it("exports to Neuronpedia the fields that SAEDashboard's batches have, and which latents are dead", () => {
    const batch = JSON.parse(readFileSync(join(made, 'neuronpedia/batch-0.json'), 'utf8'));
    expect(Object.keys(batch)).toEqual(['model_id', 'layer', 'sae_set', 'sae_id_suffix', 'features']);
    const { skipped_indexes } = JSON.parse(readFileSync(join(made, 'neuronpedia/skipped_indexes.json'), 'utf8'));
    expect(skipped_indexes).toHaveLength(about.n_dead);
    expect(batch.features).toHaveLength(64 - about.n_dead);
    for (const feature of batch.features) {
      expect(Object.keys(feature).sort()).toEqual(NEURONPEDIA_FEATURE);
      for (const activation of feature.activations) {
        expect(Object.keys(activation).sort()).toEqual(NEURONPEDIA_ACTIVATION);
      }
    }
    expect(batch.features[0].activations[0]).toMatchObject({ bin_min: -1, bin_contains: -1 });
  });

  it('leaves what was there when it is killed, and no folder where there was none', async () => {
    // Text enough that the kill comes before its end on any machine.
    const text = join(folder, 'long.jsonl');
    writeFileSync(text, readFileSync(String(about.dataset_path), 'utf8').repeat(300));
    for (const output of [made, join(folder, 'none')]) {
      const words = ['--output', output, '--n_tokens', '1000000', '--batch_size_prompts', '1', '--dataset_path', text];
      const command = start(['features', 'runs/plain', ...words]);
      await command.saw('collecting');
      process.kill(command.pid, 'SIGKILL');
      await command.ended;
    }
    expect(existsSync(join(folder, 'none'))).toBe(false);
    expect(await readDataFile(join(made, 'data/about.js'), 'about')).toEqual(about);
  });

  it('replaces features by those of other latents and text, and nothing that is no such folder', async () => {
    const other = await features(...FEW, '--latents', '3,60-62', '--dataset_path', String(about.dataset_path));
    expect(other.code, other.stderr).toBe(0);
    expect(other.features[0].about).toMatchObject({ n_latents: 4, text: 'named' });
    expect((await readDataFile(join(made, 'data/latents.js'), 'latents')).index).toEqual([3, 60, 61, 62]);
    expect(existsSync(join(made, 'neuronpedia'))).toBe(false);
    const names = readdirSync(join(folder, 'runs/plain')).filter((name) => name.startsWith('features'));
    expect(names, 'nothing is left of the one that was killed').toEqual(['features']);
    mkdirSync(join(folder, 'mine'));
    writeFileSync(join(folder, 'mine/notes.txt'), 'mine');
    expect(await features(...FEW, '--output', 'mine')).toMatchObject({
      error: { code: 'STORAGE', message: expect.stringContaining('notes.txt is there') },
    });
    expect(readdirSync(join(folder, 'mine'))).toEqual(['notes.txt']);
    for (const output of ['mine/notes.txt', 'mine/notes.txt/below']) {
      const { error, code } = await features(...FEW, '--output', output);
      expect(error).toMatchObject({ code: 'STORAGE', message: expect.stringContaining('a file is there') });
      expect([code, readFileSync(join(folder, 'mine/notes.txt'), 'utf8')]).toEqual([7, 'mine']);
    }
  });

  it('refuses latents that are not there, or twice', async () => {
    expect(await features('--latents', '5-2')).toMatchObject({ error: { code: 'CONFIG_INVALID' } });
    expect(await features('--latents', '60-63,63')).toMatchObject({
      error: { code: 'CONFIG_INVALID', message: expect.stringContaining('names latent 63 twice') },
    });
    expect(await features(...FEW, '--latents', '60-64')).toMatchObject({
      error: { code: 'CONFIG_INVALID', message: expect.stringContaining('the SAE has 64: 0 to 63') },
    });
    expect(existsSync(`${made}.partial`)).toBe(false);
  });
});

// Recorded by hand from sae_dashboard/neuronpedia/neuronpedia_dashboard.py, 0.8.0.
const NEURONPEDIA_FEATURE = [
  ...['activations', 'correlated_features_indices', 'correlated_features_l1', 'correlated_features_pearson'],
  ...['correlated_neurons_indices', 'correlated_neurons_l1', 'correlated_neurons_pearson', 'dataset'],
  ...['decoder_weights_dist', 'feature_index', 'frac_nonzero', 'freq_hist_data_bar_heights'],
  ...['freq_hist_data_bar_values', 'logits_hist_data_bar_heights', 'logits_hist_data_bar_values', 'n_prompts_total'],
  ...['n_tokens_in_prompt', 'neg_str', 'neg_values', 'neuron_alignment_indices', 'neuron_alignment_l1'],
  ...['neuron_alignment_values', 'pos_str', 'pos_values', 'vector'],
];
const NEURONPEDIA_ACTIVATION = ['bin_contains', 'bin_max', 'bin_min', 'qualifying_token_index', 'tokens', 'values'];
