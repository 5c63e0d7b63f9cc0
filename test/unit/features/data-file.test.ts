import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { afterAll, expect, it } from 'vitest';
import { dataScript, readDataFile } from '../../../src/features/data-file.ts';
import type {
  About,
  Example,
  ExampleGroup,
  Histogram,
  LatentDetail,
  LatentTable,
} from '../../../src/features/format.ts';
import { chunkName, FEATURES_FORMAT } from '../../../src/features/layout.ts';

const folder = mkdtempSync(join(tmpdir(), 'features-'));
afterAll(() => rmSync(folder, { recursive: true }));

const table: LatentTable = {
  index: [0, 7],
  density: [0.5, 0],
  max_activation: [3.25, 0],
  mean_activation: [1.5, 0],
  decoder_norm: [1, 1],
  top_tokens: [[' "quoted"', '\n</script>', '\u2028'], []],
  positive_tokens: [[], []],
};

const about: About = {
  format: FEATURES_FORMAT,
  name: 'run',
  model_name: 'gpt2',
  hook_name: 'blocks.8.hook_resid_pre',
  hook_head_index: null,
  layer: 8,
  architecture: 'topk',
  d_in: 768,
  d_sae: 8,
  dataset_path: 'bundled:demo',
  text: 'training',
  n_tokens: 100,
  n_excluded_tokens: 4,
  n_sequences: 2,
  context_size: 52,
  n_latents: 2,
  latents_per_chunk: 100,
  n_dead: 1,
  no_logits: null,
  n_co_activation_tokens: 100,
  seed: 42,
  created: '2026-01-01T00:00:00.000Z',
  version: '1.0.0',
  command: null,
};
const histogram: Histogram = { edges: [2, 2.38, 2.83, 3.36], counts: [10, 0, 40] };
const example: Example = { tokens: [' a', ' b'], values: [0, 3.25], peak: 1, sequence: 0, position: 7 };
const top: ExampleGroup = { name: 'top', low: null, high: null, count: 2, examples: [example] };
const detail: LatentDetail = {
  index: 0,
  activation_histogram: histogram,
  logit_histogram: null,
  positive_logits: [],
  negative_logits: [],
  similar: [[7, 0.5]],
  co_active: [],
  groups: [top],
};

it('a file of data gives a page that runs it and a program that reads it the same value', async () => {
  const file = join(folder, 'latents.js');
  const script = dataScript('latents', table);
  writeFileSync(file, script);
  const seen: unknown[] = [];
  runInNewContext(script, { saeLensFeatures: (...given: unknown[]) => seen.push(...given) });
  expect(JSON.parse(JSON.stringify(seen))).toEqual(['latents', table]);
  expect(await readDataFile(file, 'latents')).toEqual(table);
  writeFileSync(file, dataScript('about', about));
  expect(await readDataFile(file, 'about')).toEqual(about);
  const chunk = join(folder, chunkName(12));
  writeFileSync(chunk, dataScript('chunk', [detail]));
  expect(chunk).toMatch(/chunk-00012\.js$/);
  expect(await readDataFile(chunk, 'chunk')).toEqual([detail]);
});

it('refuses a file of another kind, one that was cut, and one whose values are none, and names it', async () => {
  const file = join(folder, 'broken.js');
  const script = dataScript('latents', table);
  for (const text of [script.replace('latents', 'about'), script.slice(0, -20), script.replace('0.5', '1.5')]) {
    writeFileSync(file, text);
    await expect(readDataFile(file, 'latents')).rejects.toMatchObject({
      code: 'STORAGE',
      message: expect.stringContaining(file),
    });
  }
});
