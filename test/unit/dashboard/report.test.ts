import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { RunStore } from '../../../src/dashboard/run-store.ts';
import { writeReport } from '../../../src/runners/report.ts';

const runsFolder = mkdtempSync(join(tmpdir(), 'sae-lens-ts-report-'));
afterAll(() => rmSync(runsFolder, { recursive: true }));

function makeRun(name: string): string {
  const folder = join(runsFolder, name);
  mkdirSync(join(folder, 'output'), { recursive: true });
  mkdirSync(join(folder, 'checkpoints', '1280'), { recursive: true });
  const record = { name, created: '2026-11-24T05:00:00Z', command: ['train', '<script>alert(1)</script>'], seed: 42 };
  writeFileSync(
    join(folder, 'run.json'),
    JSON.stringify({ ...record, sizes: { d_in: 32, d_sae: 64, total_steps: 10 } }),
  );
  writeFileSync(join(folder, 'config.yaml'), 'model_name: "tiny <b>"\nsae:\n  architecture: topk # flag\n  k: 4\n');
  const rows = Array.from({ length: 10 }, (_, step) => ({
    step,
    'losses/overall_loss': 10 - step,
    'sparsity/dead_features': 32,
  }));
  const evaluation = { step: 10, 'model_performance_preservation/ce_loss_score': 0.967 };
  writeFileSync(join(folder, 'metrics.jsonl'), [...rows, evaluation].map((row) => `${JSON.stringify(row)}\n`).join(''));
  const histogram = { step: 9, name: 'plots/feature_density_line_chart', counts: [3, 1], edges: [-5, -3, -1] };
  writeFileSync(join(folder, 'histograms.jsonl'), `${JSON.stringify(histogram)}\n`);
  const manifest = { created: '2026-11-24T05:01:00Z', n_training_samples: 1280, files: { 'cfg.json': { size: 5 } } };
  writeFileSync(join(folder, 'checkpoints', '1280', 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

test('a report is one file with evaluation, curves, densities, advice, configuration and provenance, and no script', async () => {
  const folder = makeRun('first');
  const path = await writeReport('first', { runsFolder });
  expect(path).toBe(join(folder, 'report.html'));
  const page = readFileSync(path, 'utf8').replaceAll('<wbr>', '');
  for (const said of [
    'model_performance_preservation/ce_loss_score</th><td>0.967',
    'Loss: from 1 to 10, at the end 1',
    'Histogram from -5 to -1',
    '32 of 64 latents are dead (50.0 %)',
    'sae.architecture</th><td>topk',
    'tiny &#60;b&#62;',
    '1280 samples',
  ])
    expect(page).toContain(said);
  // What stays at one value lies in the middle of its plot, and is said once.
  expect(page.match(/y="\d+" text-anchor="end">32</g)).toEqual(['y="89" text-anchor="end">32<']);
  expect(page).not.toMatch(/<script|https?:(?!\/\/www\.w3\.org)|<b>/);
});

test('a run that there is not is refused by its name', async () => {
  await expect(writeReport('none', { runsFolder })).rejects.toMatchObject({ code: 'USAGE' });
});

test('runs are found below a folder, told apart by what became of them, and known by their way alone', async () => {
  makeRun('sweep/second');
  mkdirSync(join(runsFolder, 'no-run'), { recursive: true });
  const store = new RunStore(runsFolder);
  const listed = await store.list();
  expect(listed.map(({ id, state, step, loss }) => [id, state, step, loss]).sort()).toEqual([
    ['first', 'done', 10, 1],
    ['sweep/second', 'done', 10, 1],
  ]);
  for (const id of ['../first', '/etc', 'first/../first', '__proto__']) {
    await expect(store.series(id)).rejects.toMatchObject({ code: 'USAGE' });
  }
  const { facts, checkpoints } = await store.details('sweep/second');
  expect(facts.config).toEqual({ model_name: 'tiny <b>', 'sae.architecture': 'topk', 'sae.k': 4 });
  expect(checkpoints).toMatchObject([{ n_training_samples: 1280, bytes: 5 }]);
});

test('a run whose files are damaged is shown as far as they go', async () => {
  const folder = makeRun('damaged');
  writeFileSync(join(folder, 'config.yaml'), '{[');
  writeFileSync(join(folder, 'metrics.jsonl'), '\u0000\u0001\n{"step":1}\n[]\nnull\n{"step":"x"}\n');
  writeFileSync(join(folder, 'histograms.jsonl'), '{}\n{"step":1,"name":1}\n');
  writeFileSync(join(folder, 'log.jsonl'), 'x\n{"level":30,"time":"2026-11-24T05:00:00Z","msg":"hello"}\n');
  writeFileSync(join(folder, 'lock.json'), 'null');
  const { facts, histograms, log } = await new RunStore(runsFolder).details('damaged');
  expect([facts.config, histograms, log]).toEqual([
    {},
    [],
    [{ level: 'info', time: '2026-11-24T05:00:00Z', message: 'hello' }],
  ]);
});

test('a report of a run that has no rows yet says so where evaluation and curves would be', async () => {
  const folder = makeRun('begun');
  rmSync(join(folder, 'metrics.jsonl'));
  const page = readFileSync(await writeReport('begun', { runsFolder }), 'utf8');
  expect(page).toContain('<h2>Evaluation</h2>\n<p>none yet</p>\n<h2>Curves</h2>\n<p>none yet</p>\n');
});
