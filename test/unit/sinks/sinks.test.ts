import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { compact, duration, grouped, significant, sparkline } from '../../../src/format.ts';
import { JsonSink } from '../../../src/sinks/json.ts';
import { JsonlSink } from '../../../src/sinks/jsonl.ts';
import type { RunEvent } from '../../../src/sinks/sink.ts';
import { SinkGroup } from '../../../src/sinks/sink-group.ts';
import { TerminalSink } from '../../../src/sinks/terminal.ts';
import { artifactName } from '../../../src/sinks/wandb.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';

/** A stream that keeps what is written, with the two things a terminal adds. */
function screen(columns: number, isTTY: boolean) {
  let text = '';
  const out = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  Object.assign(out, { columns, isTTY });
  return { out: out as unknown as NodeJS.WriteStream, text: () => text };
}

const HEADER: RunEvent = {
  kind: 'header',
  run_name: 'a-run',
  model: 'stories260K',
  hook: 'model.layers.2',
  dataset: 'TinyStories',
  architecture: 'topk',
  d_in: 64,
  d_sae: 1024,
  training_tokens: 409_600,
  total_steps: 100,
  device: 'cpu',
  folder: 'runs/a-run',
};
const row = (step: number): RunEvent => ({
  kind: 'metrics',
  step,
  row: {
    'losses/overall_loss': 1 / (step + 1),
    'metrics/l0': 16,
    'metrics/explained_variance': 0.5 + step / 200,
    'sparsity/dead_features': 12,
    'details/n_training_samples': (step + 1) * 4096,
    'system/rss_bytes': 1.25e9,
  },
});
const END: RunEvent = {
  kind: 'finished',
  stopped: false,
  n_training_steps: 100,
  elapsed_s: 185,
  output: 'runs/a-run/output',
  checkpoint: null,
  next: [{ command: 'sae-lens-ts hooks stories260K', purpose: 'list hook points' }],
};

/** A whole run, one step a second. */
function play(columns: number, isTTY: boolean, env: NodeJS.ProcessEnv = {}): { lines: string[]; raw: string } {
  const { out, text } = screen(columns, isTTY);
  let now = 0;
  const sink = new TerminalSink({ out, env, now: () => now });
  sink.consume(HEADER);
  sink.consume({ kind: 'stage', stage: 'model', message: 'Loading \u001b[31mmodel\u001b[0m', done: null, total: null });
  sink.consume({ kind: 'started', d_in: 64, d_sae: 1024, total_steps: 100, device: 'cpu' });
  for (let step = 0; step < 100; step++) {
    now += 1_000;
    sink.consume(row(step));
  }
  sink.consume(END);
  return { lines: stripVTControlCharacters(text()).split('\n'), raw: text() };
}

describe('the terminal', () => {
  it('shows header, live line and summary on 80 columns', () => {
    const { lines } = play(80, true);
    expect(lines.slice(0, 6)).toEqual([
      'run        a-run',
      'sae        topk · 64 → 1 024 latents',
      'model      stories260K · model.layers.2',
      'data       TinyStories · 409 600 tokens · 100 steps',
      'device     cpu',
      'files      runs/a-run',
    ]);
    expect(lines).toContain('step 50/100 · loss 0.02 · ETA 50s · L0 16 · EV 0.745 · 4096 tok/s · dead 1.2%');
    const end = lines.indexOf('Done: 100 steps in 3m 05s');
    expect(lines.slice(end)).toEqual([
      'Done: 100 steps in 3m 05s',
      '  loss                 0.01       █▃▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁',
      '  explained variance   0.995      ▁▁▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇███',
      '  L0                   16',
      '  dead latents         12 of 1 024',
      'SAE        runs/a-run/output',
      'Next:',
      '  sae-lens-ts hooks stories260K',
      '      list hook points',
      '',
    ]);
  });

  it('names the latents alone until the width of the model is known', () => {
    const { out, text } = screen(80, false);
    const sink = new TerminalSink({ out, env: {} });
    sink.consume({ ...HEADER, d_in: null });
    sink.consume({ kind: 'started', d_in: 2048, d_sae: 1024, total_steps: 100, device: 'cpu' });
    const lines = text().split('\n');
    expect(lines).toContain('sae        topk · 1 024 latents');
    expect(lines).toContain('           2 048 → 1 024 latents on cpu');
  });

  it('says of which step the numbers of the summary are, where that is not the last one', () => {
    const { out, text } = screen(80, false);
    const sink = new TerminalSink({ out, env: {} });
    for (const event of [HEADER, row(89), END]) sink.consume(event);
    expect(text()).toContain('Done: 100 steps in 3m 05s (last row: step 90)\n');
    sink.consume({ ...END, n_training_steps: 1 });
    expect(text()).toContain('Done: 1 step in 3m 05s\n');
  });

  it('says each stage once in a plain log, and on a live line lets the rows speak for training', () => {
    const stage = (name: string, message: string, done: number | null = null): RunEvent => ({
      kind: 'stage',
      stage: name,
      message,
      done,
      total: done === null ? null : 100,
    });
    const lines = (isTTY: boolean): string[] => {
      const { out, text } = screen(80, isTTY);
      let now = 0;
      const sink = new TerminalSink({ out, env: {}, now: () => now });
      sink.consume({ kind: 'started', d_in: 64, d_sae: 1024, total_steps: 100, device: 'cpu' });
      for (let step = 0; step < 100; step++) {
        now += 1_000;
        sink.consume(stage('train', 'training the SAE', step));
        if (step % 10 === 9) sink.consume(row(step));
      }
      sink.consume(stage('evaluate', 'evaluating the finished SAE'));
      now += 20_000;
      // As the worker numbers the last evaluation.
      sink.consume({ kind: 'metrics', step: 100, row: { 'reconstruction_quality/mse': 1 } });
      return stripVTControlCharacters(text()).split('\n');
    };
    for (const message of ['training the SAE', 'evaluating the finished SAE']) {
      expect(lines(false).filter((line) => line === message)).toEqual([message]);
    }
    const live = lines(true);
    expect(live.some((line) => line.startsWith('step 55/100 · loss 0.02'))).toBe(true);
    expect(live.slice(live.findIndex((line) => line.startsWith('step 1'))).join()).not.toContain('training the SAE');
    expect(live.join()).not.toContain('step 101');
  });

  it('never makes the live line longer than the terminal', () => {
    const { lines } = play(20, true);
    const live = lines.filter((line) => line.startsWith('step '));
    expect(live.length).toBeGreaterThan(50);
    expect(Math.max(...live.map((line) => line.length))).toBeLessThan(20);
  });

  it.each([
    ['not a TTY', false, {}],
    ['TERM=dumb', true, { TERM: 'dumb' }],
    ['CI', true, { CI: '1' }],
  ])('writes plain lines every ten seconds: %s', (_, isTTY, env) => {
    const { raw } = play(80, isTTY, env);
    expect(raw).not.toContain('\u001b');
    expect(raw.split('\n').filter((line) => line.startsWith('step '))).toHaveLength(10);
    expect(raw).toContain('Loading model\n');
  });

  it('has no colour with NO_COLOR, and no escape of a foreign text at all', () => {
    expect(play(80, true).raw).toContain('\u001b[1m');
    expect(play(80, true, { NO_COLOR: '1' }).raw).not.toContain('\u001b[1m');
    expect(play(80, true).raw).not.toContain('\u001b[31m');
  });

  it('is silent with quiet, but prints what the logger says', () => {
    const { out, text } = screen(80, true);
    const sink = new TerminalSink({ out, quiet: true });
    for (const event of [HEADER, row(1), END]) sink.consume(event);
    sink.print('warning: something');
    expect(text()).toBe('warning: something\n');
  });

  it('goes on when the terminal goes away', () => {
    const { out } = screen(80, true);
    const sink = new TerminalSink({ out });
    out.emit('error', Object.assign(new Error('EPIPE'), { code: 'EPIPE' }));
    for (const event of [HEADER, row(1), END]) sink.consume(event);
  });
});

describe('--json', () => {
  it('writes one JSON object a line, numbers JSON lacks as null', () => {
    const { out, text } = screen(80, false);
    const sink = new JsonSink(out, () => new Date(0));
    sink.consume({ kind: 'metrics', step: 3, row: { 'metrics/l0': Number.NaN } });
    expect(text()).toBe('{"event":"metrics","time":"1970-01-01T00:00:00.000Z","step":3,"row":{"metrics/l0":null}}\n');
  });

  it('drops and counts when its reader stands still, and survives one that leaves', () => {
    let release: () => void = () => {};
    const written: string[] = [];
    const out = new Writable({
      write(chunk, _, done) {
        written.push(String(chunk));
        release = done;
      },
    });
    const sink = new JsonSink(out);
    const big: RunEvent = { kind: 'log', level: 'info', message: 'x'.repeat(1 << 20) };
    for (let i = 0; i < 20; i++) sink.consume(big);
    expect(out.writableLength).toBeLessThan(11 << 20);
    while (out.writableLength > 0) release();
    sink.consume(row(1));
    release();
    expect(JSON.parse(written.at(-1) as string).dropped).toBeGreaterThan(5);
    out.emit('error', new Error('EPIPE'));
    sink.consume(row(2));
  });
});

describe('metrics.jsonl', () => {
  it('has a line for every row, in order, under SAELens’ names', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'sinks-')), 'metrics.jsonl');
    const sink = new JsonlSink(path, keepLog());
    for (let step = 0; step < 1_000; step++) sink.consume(row(step));
    await sink.close();
    const rows = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows.map(({ step }) => step)).toEqual(Array.from({ length: 1_000 }, (_, step) => step));
    expect(rows[0]['losses/overall_loss']).toBe(1);
  });
});

describe('a group of sinks', () => {
  it('goes on without one that throws, which is closed, and without waiting for one that does not close', async () => {
    const log = keepLog();
    const seen: RunEvent[] = [];
    const closed: string[] = [];
    const group = new SinkGroup(
      [
        {
          name: 'broken',
          consume: () => {
            throw new Error('no');
          },
          close: async () => void closed.push('broken'),
        },
        { name: 'stuck', consume: () => {}, close: () => new Promise(() => {}) },
        { name: 'good', consume: (event) => void seen.push(event), close: async () => {} },
      ],
      log,
    );
    group.consume(row(0));
    group.consume(row(1));
    await group.close(10);
    expect(seen).toHaveLength(2);
    expect(closed).toEqual(['broken']);
    expect(log.lines).toEqual([
      'broken failed and is left out; training goes on: no',
      'stuck could not be closed: not done after 10 ms',
    ]);
  });
});

it('numbers are written as people read them', () => {
  expect([0, 950, 9_999, 17_480, 4_123_456].map(compact)).toEqual(['0', '950', '9999', '17.5k', '4.1M']);
  expect([5, 12_345, 1_234_567].map(grouped)).toEqual(['5', '12 345', '1 234 567']);
  expect([0, 0.12345, 0.00001, 1e7, Number.NaN].map(significant)).toEqual(['0', '0.1235', '1.00e-5', '1.00e+7', 'NaN']);
  expect([3, 185, 7_620, 273_600].map(duration)).toEqual(['3s', '3m 05s', '2h 07m', '3d 04h']);
  expect(sparkline([1, 2, 3], 3)).toBe('▁▅█');
});

it('artifact names are SAELens’, made fit for W&B', () => {
  expect(artifactName('sae_org/m_model.layers.2_8')).toBe('sae_org__m_model.layers.2_8');
  expect(artifactName('a b:c')).toBe('a_b_c');
});
