import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeManifest } from '../../../src/artifacts/manifest.ts';
import { compareText } from '../../../src/cli/compare-text.ts';
import { compareRuns } from '../../../src/runners/compare.ts';
import { runRecord } from '../../fixtures/run-record.ts';
import { writeSaeFolder } from '../../fixtures/sae-folder.ts';

let runs: string;
beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), 'compare-'));
});
afterEach(() => rmSync(runs, { recursive: true, force: true }));

type Row = Record<string, number | string>;
const step = (n: number, loss: number, more: Row = {}): Row => ({ step: n, ...more, 'losses/mse_loss': loss });

function run(name: string, config: string, rows: readonly Row[], record: Parameters<typeof runRecord>[0] = {}): void {
  mkdirSync(join(runs, name));
  writeFileSync(join(runs, name, 'run.json'), JSON.stringify(runRecord(record)));
  writeFileSync(join(runs, name, 'config.yaml'), config);
  writeFileSync(join(runs, name, 'metrics.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

describe('two runs compared', () => {
  it('differ in options, versions and data, and part where a metric first differs; memory and places do not count', async () => {
    const rows = (third: number) => [step(9, 4), step(19, 3, { 'system/rss_bytes': third }), step(29, third)];
    run('a', 'lr: 0.001\nsae:\n  k: 4\noutput_path: x\n', rows(2), {
      versions: { torch: '2.13.0' },
      hashes: { model: 'm' },
    });
    run('b', 'lr: 0.002\nsae:\n  k: 4\n', rows(2.5), { versions: { torch: '2.14.0' }, hashes: { model: 'n' } });
    const found = await compareRuns(['a', join(runs, 'b')], runs);
    expect(found).toMatchObject({
      runs: ['a', 'b'],
      options: [{ name: 'lr', values: [0.001, 0.002] }],
      provenance: [
        { name: 'torch', values: ['2.13.0', '2.14.0'] },
        { name: 'hash of model', values: ['m', 'n'] },
      ],
      metrics: [{ name: 'losses/mse_loss', values: [2, 2.5] }],
      commonRows: 3,
      firstDifference: { step: 29, metric: 'losses/mse_loss' },
      sameWeights: null,
    });
    expect(compareText(found)).toMatch(/^options\n +a +b\n {2}lr +0\.001 +0\.002\n/);
    expect(compareText(found)).toContain(
      'their metrics part at training step 29, in losses/mse_loss; not both are finished',
    );
  });

  it('are compared where both have rows: by step, evaluations apart, each of several SAEs for itself', async () => {
    const evaluation = { step: 19, 'sparsity/l0': 4 };
    run('often', '', [step(4, 5), step(9, 4), step(14, 9), step(19, 3), evaluation, step(24, 1)]);
    run('seldom', '', [step(9, 4), step(19, 3), { step: 19, 'sparsity/l0': 5 }]);
    expect(await compareRuns(['often', 'seldom'], runs)).toMatchObject({
      commonRows: 3,
      firstDifference: { step: 19, metric: 'sparsity/l0' },
    });
    run('wide', '', [step(9, 4, { sae: 'k4' }), step(9, 3, { sae: 'k8' })]);
    run('narrow', '', [step(9, 4, { sae: 'k4' }), step(9, 2, { sae: 'k8' })]);
    expect(await compareRuns(['wide', 'narrow'], runs)).toMatchObject({
      metrics: [{ name: 'k8/losses/mse_loss', values: [3, 2] }],
      commonRows: 2,
    });
  });

  it('may have been killed, in the middle of a line or before the first', async () => {
    run('whole', '', [step(9, 4), step(19, 3)]);
    run('cut', '', [step(9, 4)]);
    writeFileSync(join(runs, 'cut', 'metrics.jsonl'), '{"step":9,"losses/mse_loss":4}\n{"step":19,"loss');
    expect(await compareRuns(['whole', 'cut'], runs)).toMatchObject({ commonRows: 1, firstDifference: null });
    rmSync(join(runs, 'cut', 'metrics.jsonl'));
    expect(await compareRuns(['whole', 'cut'], runs)).toMatchObject({ commonRows: 0, firstDifference: null });
  });

  it('have the same weights when their manifests say so', async () => {
    for (const name of ['a', 'b']) {
      run(name, '', [step(9, 4)]);
      writeSaeFolder(join(runs, name, 'output'));
      await writeManifest(join(runs, name, 'output'), { kind: 'output', n_training_samples: 64 });
    }
    const found = await compareRuns(['a', 'b'], runs);
    expect(found.sameWeights).toBe(true);
    expect(compareText(found)).toBe(
      'options: the same\n\nprovenance: the same\n\nmetrics, the last of each: the same\n\n' +
        'no metric differs in the 1 row that both have; their weights are the same\n',
    );
  });

  it('have to be there', async () => {
    run('a', '', []);
    await expect(compareRuns(['a', 'b'], runs)).rejects.toMatchObject({ code: 'USAGE' });
    writeFileSync(join(runs, 'a', 'run.json'), '[');
    await expect(compareRuns(['a', 'a'], runs)).rejects.toMatchObject({ code: 'STORAGE' });
  });
});
