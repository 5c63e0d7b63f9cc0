import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { JsonlSink } from '../../../src/sinks/jsonl.ts';
import type { RunEvent } from '../../../src/sinks/sink.ts';
import { TerminalSink } from '../../../src/sinks/terminal.ts';
import { WandbSink } from '../../../src/sinks/wandb.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';

const HEADER: RunEvent = {
  kind: 'header',
  run_name: 'both',
  model: 'stories260K',
  hook: 'model.layers.2',
  dataset: 'TinyStories',
  architecture: 'topk+gated',
  d_in: 64,
  d_sae: 1536,
  saes: { wide: { architecture: 'topk', d_sae: 1024 }, gate: { architecture: 'gated', d_sae: 512 } },
  training_tokens: 409_600,
  total_steps: 100,
  device: 'cpu',
  folder: 'runs/both',
};
const STARTED: RunEvent = {
  kind: 'started',
  d_in: 64,
  d_sae: 1536,
  saes: { wide: { d_sae: 1024 }, gate: { d_sae: 512 } },
  total_steps: 100,
  device: 'cpu',
};
const row = (sae: string, step: number, loss: number): RunEvent => ({
  kind: 'metrics',
  step,
  sae,
  row: {
    'losses/overall_loss': loss,
    'metrics/l0': 16,
    'sparsity/dead_features': 51.2,
    'details/n_training_samples': (step + 1) * 4096,
    'system/rss_bytes': 1e9,
  },
});
const END: RunEvent = {
  kind: 'finished',
  stopped: false,
  n_training_steps: 100,
  elapsed_s: 10,
  output: 'runs/both/output',
  checkpoint: null,
  next: [],
};

/** What is on a terminal of these columns after a run of three rows of each SAE, a second apart. */
function shown(columns: number, isTTY: boolean): string {
  let text = '';
  const out = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  let now = 0;
  const options = { out: Object.assign(out, { columns, isTTY }) as unknown as NodeJS.WriteStream, env: {} };
  const sink = new TerminalSink({ ...options, now: () => now });
  sink.consume(HEADER);
  sink.consume(STARTED);
  for (const step of [9, 19, 29]) {
    now += 1_000;
    sink.consume(row('wide', step, 1 / step));
    sink.consume(row('gate', step, 2 / step));
  }
  sink.consume(END);
  return stripVTControlCharacters(text);
}

describe('a run of several SAEs', () => {
  it('is on the terminal a line for the run and one for each SAE, and a table at the end', () => {
    expect(shown(80, true)).toContain(
      [
        'step 20/100 · ETA 8s · 41.0k tok/s · RSS 1.0 GB',
        '  wide  loss 0.05263 · L0 16 · dead 5.0%',
        '  gate  loss 0.1053 · L0 16 · dead 10.0%\n',
      ].join('\n'),
    );
    const lines = shown(80, false).split('\n');
    expect(lines.slice(1, 3)).toEqual([
      'sae        wide · topk · 64 → 1 024 latents',
      'sae        gate · gated · 64 → 512 latents',
    ]);
    expect(lines.slice(lines.indexOf('Done: 100 steps in 10s (last row: step 30)'))).toEqual([
      'Done: 100 steps in 10s (last row: step 30)',
      '        loss     EV  L0  CE score  dead latents',
      '  wide  0.03448      16            51 of 1 024',
      '  gate  0.06897      16            51 of 512',
      'SAEs       runs/both/output',
      '',
    ]);
  });

  it('fits a narrow terminal', () => {
    for (const line of shown(30, true)
      .split('\n')
      .filter((one) => /^( {2}\w|step)/.test(one))) {
      expect(line.length, line).toBeLessThan(48);
    }
    expect(shown(30, true)).toContain('\n  wide  loss 0.05263 · L0 16…\n');
  });

  it('names the SAE in each line of metrics.jsonl', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'jsonl-')), 'metrics.jsonl');
    const sink = new JsonlSink(path, keepLog());
    sink.consume(row('wide', 9, 0.5));
    await sink.close();
    expect(readFileSync(path, 'utf8')).toMatch(/^\{"step":9,"sae":"wide","losses\/overall_loss":0.5,/);
  });

  it('has SAELens’ keys in W&B, `<sae>/<key>`, those of the run as they are, and an artifact for each SAE', async () => {
    const calls: [string, unknown, Record<string, unknown>][] = [];
    const python = {
      call: async (_: string, name: string, [rows]: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => {
        calls.push([name, rows, kwargs]);
        return { mode: 'offline', reason: null, url: null, directory: '' } as never;
      },
      close: async () => {},
    };
    const logger = {
      log_activations_store_to_wandb: false,
      log_optimizer_state_to_wandb: false,
      log_weights_to_wandb: true,
      wandb_project: 'p',
      wandb_id: null,
      run_name: null,
      wandb_entity: null,
    };
    const options = { logger, config: {}, model_name: 'm', hook_name: 'h', directory: '' };
    const sink = new WandbSink(options, async () => python, keepLog());
    sink.consume(STARTED);
    sink.consume(row('wide', 9, 0.5));
    sink.consume({ kind: 'histogram', step: 9, sae: 'wide', name: 'plots/density', counts: [1], edges: [0, 1] });
    const state = { optimizer_state: null, activations_store: null };
    sink.consume({
      kind: 'checkpoint',
      sae: 'wide',
      path: 'o/wide',
      n_training_samples: 1,
      final: true,
      recurring: false,
      ...state,
    });
    await sink.close(5_000);
    const rows = calls
      .filter(([name]) => name === 'log')
      .flatMap(([, of]) => of as { row: object; histograms: object }[]);
    expect(rows.flatMap(({ row: of, histograms }) => [...Object.keys(of), ...Object.keys(histograms)])).toEqual([
      'wide/losses/overall_loss',
      'wide/metrics/l0',
      'wide/sparsity/dead_features',
      'details/n_training_samples',
      'system/rss_bytes',
      'wide/plots/density',
    ]);
    const [artifact] = calls.filter(([name]) => name === 'log_artifact').map(([, , kwargs]) => kwargs);
    expect(artifact).toMatchObject({ name: 'sae_m_h_1024_wide', files: { 'cfg.json': 'o/wide/cfg.json' } });
  });
});
