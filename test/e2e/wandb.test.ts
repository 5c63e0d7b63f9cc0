import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WandbSink } from '../../src/sinks/wandb.ts';
import { PythonSession } from '../../src/worker/pythonia.ts';
import { keepLog } from '../fixtures/quiet-log.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';
import { pythonForTests } from '../python-for-tests.ts';

const python = pythonForTests();
const SECRET = 'planted-secret-0123456789';
const LOGGER = {
  log_activations_store_to_wandb: false,
  log_optimizer_state_to_wandb: true,
  log_weights_to_wandb: true,
  wandb_project: 'sae_lens_training',
  wandb_id: null,
  run_name: 'a-run',
  wandb_entity: null,
};
const saved = { ...process.env };
beforeAll(() => {
  process.env.WANDB_MODE = 'offline';
  process.env.PLANTED_TOKEN = SECRET;
});
afterAll(() => {
  process.env = saved;
});

const options = (directory: string) => ({
  logger: LOGGER,
  config: { seed: 42, sae: { k: 16 }, leaked: SECRET },
  model_name: 'org/model',
  hook_name: 'blocks.0.hook_resid_post',
  directory,
});
const sizes = { kind: 'started', d_in: 4, d_sae: 8, total_steps: 300, device: 'cpu' } as const;

describe('the W&B sink with the real client, offline', () => {
  it('writes a run file that holds every row, the config and the artifacts under SAELens’ names', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'wandb-'));
    const checkpoint = join(directory, 'output');
    writeSaeFolder(checkpoint);
    const log = keepLog();
    const sink = new WandbSink(options(directory), () => PythonSession.start({ python }), log);
    sink.consume(sizes);
    for (let step = 0; step < 300; step++) {
      sink.consume({ kind: 'metrics', step, row: { 'losses/mse_loss': step / 2, 'metrics/l0': 16 } });
    }
    const name = 'plots/feature_density_line_chart';
    sink.consume({ kind: 'histogram', step: 300, name, counts: [1, 2], edges: [-3, -2, -1] });
    const optimizer_state = join(checkpoint, 'optimizer_state.safetensors');
    writeFileSync(optimizer_state, 'moments');
    const state = { optimizer_state, activations_store: null };
    sink.consume({
      kind: 'checkpoint',
      path: checkpoint,
      n_training_samples: 300,
      final: true,
      recurring: false,
      ...state,
    });
    await sink.close(60_000);

    expect(sink.dropped).toBe(0);
    const run = readdirSync(join(directory, 'wandb')).find((entry) => entry.startsWith('offline-run-')) as string;
    const folder = join(directory, 'wandb', run);
    expect(log.lines).toContain(`to upload this run: wandb sync ${folder}`);
    const file = readdirSync(folder).find((entry) => entry.endsWith('.wandb')) as string;
    const held = JSON.parse(
      execFileSync(python, ['test/fixtures/read_wandb.py', join(folder, file)], { encoding: 'utf8', maxBuffer: 1e8 }),
    );
    expect(held.run).toEqual({ project: 'sae_lens_training', name: 'a-run' });
    expect(held.config).toMatchObject({ seed: 42, sae: { k: 16 }, leaked: '[secret]' });
    const rows = held.rows.filter((row: Record<string, unknown>) => 'losses/mse_loss' in row);
    expect(rows.map((row: Record<string, number>) => row['losses/mse_loss'])).toEqual(
      Array.from({ length: 300 }, (_, step) => step / 2),
    );
    expect(rows[299]._step).toBe(299);
    expect(held.rows.at(-1)[name] ?? held.rows.at(-1)[`${name}._type`]).toBeDefined();
    const base = 'sae_org__model_blocks.0.hook_resid_post_8';
    expect(held.artifacts).toEqual([
      expect.objectContaining({ name: base, type: 'model', aliases: expect.arrayContaining(['final_model']) }),
      expect.objectContaining({ name: `${base}_log_feature_sparsity`, type: 'log_feature_sparsity' }),
      expect.objectContaining({ name: `${base}_optimizer_state`, files: ['optimizer_state.safetensors'] }),
    ]);
    expect(held.artifacts[0].files.sort()).toEqual(['cfg.json', 'sae_weights.safetensors']);
    expect(() => execFileSync('grep', ['-rq', SECRET, directory])).toThrow();
  });
});

describe('a W&B that fails', () => {
  /** Feeds rows while the client is in trouble; the caller may not notice. */
  async function feed(startPython: ConstructorParameters<typeof WandbSink>[1], closeMs: number) {
    const log = keepLog();
    const sink = new WandbSink(options(mkdtempSync(join(tmpdir(), 'wandb-'))), startPython, log);
    let slowest = 0;
    for (let step = 0; step < 25_000; step++) {
      const begin = performance.now();
      sink.consume({ kind: 'metrics', step, row: { 'losses/mse_loss': 1 } });
      slowest = Math.max(slowest, performance.now() - begin);
      if (step % 5_000 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const begin = performance.now();
    await sink.close(closeMs);
    return { log, sink, slowest, closed: performance.now() - begin };
  }

  it('that is not installed only costs its rows', async () => {
    const { log, sink, slowest } = await feed(() => PythonSession.start({ python: '/no/such/python' }), 5_000);
    expect(sink.dropped).toBe(25_000);
    expect(slowest).toBeLessThan(50);
    expect(log.lines.join('\n')).toContain('W&B is left out, training goes on');
  });

  it('that hangs is given up at the deadline, and its queue is bounded', async () => {
    const hanging = async () => {
      const session = await PythonSession.start({ python });
      return {
        call: <T>() => session.call<T>('time', 'sleep', [60], {}, 60_000),
        close: (graceMs: number) => session.close(graceMs),
      };
    };
    const { log, sink, closed } = await feed(hanging, 1_000);
    expect(sink.dropped).toBe(25_000);
    expect(closed).toBeLessThan(3_000);
    expect(log.lines.join('\n')).toContain('not done after 1000 ms');
  });

  it('that starts only after it was given up is ended', async () => {
    let ended: () => void = () => {};
    const end = new Promise<void>((resolve) => {
      ended = resolve;
    });
    let start: () => void = () => {};
    const late = async () => {
      await new Promise<void>((resolve) => {
        start = resolve;
      });
      const session = await PythonSession.start({ python });
      return {
        call: <T>(...args: Parameters<PythonSession['call']>) => session.call<T>(...args),
        close: (graceMs: number) => session.close(graceMs).then(ended),
      };
    };
    await feed(late, 100);
    start();
    await end;
  });

  it('that is killed in the middle is left out', async () => {
    let session: PythonSession | undefined;
    const { log } = await feed(async () => {
      session = await PythonSession.start({ python });
      setTimeout(() => process.kill(session?.pid as number, 'SIGKILL'), 100);
      return session;
    }, 10_000);
    expect(log.lines.join('\n')).toContain('SIGKILL');
  });
});
