import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { listingHash } from '../../../src/artifacts/listing-hash.ts';
import type { LanguageModelSAERunnerOptions } from '../../../src/config/index.ts';
import { SAETrainingRunner } from '../../../src/runners/training.ts';
import type { TrainingOptions } from '../../../src/runners/training-options.ts';
import type { TrainingRun } from '../../../src/runners/training-run.ts';
import { SAE } from '../../../src/sae/sae.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';
import { writeSaeFolder } from '../../fixtures/sae-folder.ts';
import { pythonForTests } from '../../python-for-tests.ts';
import { workersForTests } from '../../workers.ts';

const { start: startWorker } = workersForTests();
let folder: string;
beforeEach(() => {
  vi.stubEnv('SAE_LENS_TS_PYTHON', pythonForTests());
  vi.stubEnv('WANDB_MODE', 'offline');
  folder = mkdtempSync(join(tmpdir(), 'training-run-'));
  writeSaeFolder(join(folder, 'sae'));
});

const options = (more: Partial<LanguageModelSAERunnerOptions> = {}): LanguageModelSAERunnerOptions => ({
  model_name: join(folder, 'sae'),
  hook_name: 'a',
  dataset_path: 'text.jsonl',
  sae: { architecture: 'topk', d_in: 4, d_sae: 8, k: 2 },
  training_tokens: 4096,
  train_batch_size_tokens: 4096,
  context_size: 128,
  device: 'cpu',
  logger: { log_to_wandb: false },
  ...more,
});

/** A run whose worker saves what `what` says; it writes into `folder/output`. */
async function start(what: string, more: TrainingOptions = {}): Promise<TrainingRun> {
  const cfg = options({ hook_name: what, output_path: join(folder, 'output') });
  const worker = more.worker ?? (await startWorker('saver'));
  return new SAETrainingRunner(cfg, { runsFolder: join(folder, 'runs'), name: 'r', worker, ...more }).start();
}

/** In the way of what is to be saved there. */
function occupy(place: string): void {
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'notes.txt'), 'mine');
}

describe('what a run writes while it trains', () => {
  it('says in run.json what decided the numbers', async () => {
    const run = await start('output');
    await run.done;
    const record = JSON.parse(readFileSync(run.paths.run, 'utf8'));
    // The dataset is not there: nothing is known of it.
    expect(record.hashes).toEqual({
      config: expect.stringMatching(/^[0-9a-f]{64}$/),
      model_listing: await listingHash(join(folder, 'sae')),
      model_revision: '4fe1',
    });
    expect(record).toMatchObject({
      versions: {
        node: process.version,
        python: expect.stringMatching(/^3\./),
        torch: '2.13.0+cpu',
        transformers: '5.23.0',
      },
      machine: {
        device: 'cpu',
        cpu_capability: 'AVX2',
        threads: 1,
        torch_commit: 'cf30153',
        cpu: 'a processor',
        platform: expect.any(String),
      },
      sizes: { d_in: 4, d_sae: 8, total_steps: 1, n_eval_prompts: 3 },
    });
  });

  it('a final checkpoint that cannot be saved fails the run at its end, not the process; the output is saved still', async () => {
    const rejections: unknown[] = [];
    const onRejection = (error: unknown): void => void rejections.push(error);
    process.on('unhandledRejection', onRejection);
    try {
      const run = await start('scheduled final output wait');
      occupy(join(run.paths.checkpoints, 'final_2'));
      await vi.waitFor(() => expect(readdirSync(run.paths.output)).toContain('manifest.json'), 20_000);
      await run.stop();
      const error = await run.done.catch((error) => error);
      expect(error).toMatchObject({ code: 'STORAGE', message: expect.stringContaining('notes.txt') });
      expect(error.hint).toMatch(/are kept in ".*final_2\.unsaved-/);
      expect(error.hint).toContain(`the finished SAE is ${run.paths.output}`);
      expect(error.hint).toContain(`the last complete checkpoint is ${join(run.paths.checkpoints, '1')}`);
      expect(rejections).toEqual([]);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
  });

  it('an output that cannot be saved stays where the error says, and a checkpoint is named to go on from', async () => {
    const run = await start('scheduled output wait');
    occupy(run.paths.output);
    await run.stop();
    const error = await run.done.catch((error) => error);
    expect(error.code).toBe('STORAGE');
    expect(readdirSync(error.details.kept)).toContain('sae_weights.safetensors');
    expect(error.hint).toContain(`go on from it: sae-lens-ts resume ${run.paths.folder}`);
    expect(readdirSync(run.paths.output)).toEqual(['notes.txt']);
  });

  it('a scheduled checkpoint that cannot be saved costs the checkpoint only', async () => {
    const log = keepLog();
    const run = await start('scheduled output wait', { log });
    occupy(join(run.paths.checkpoints, '1'));
    await run.stop();
    expect(await run.done).toMatchObject({ checkpoint: null, output: run.paths.output });
    expect(log.lines.join('\n')).toContain('training goes on without this checkpoint');
    expect(readdirSync(run.paths.checkpoints)).toEqual(['1']);
  });

  it('tells how many rows of metrics the worker had to leave out', async () => {
    const log = keepLog();
    const run = await start('rows=200000 output', { log });
    await run.done;
    const rows = (await run.collect()).length;
    const [, missing] = /^(\d+) rows of metrics are missing/m.exec(log.lines.join('\n')) ?? [];
    expect(rows + Number(missing ?? 0)).toBe(200_000);
    expect(Number(missing)).toBeGreaterThan(0);
  });
});

describe('a worker that trains', () => {
  it('refuses another run and an SAE at once, with the way out; the run goes on', async () => {
    const worker = await startWorker('saver');
    const run = await start('output wait', { worker });
    const busy = {
      code: 'USAGE',
      message: expect.stringContaining('the worker is busy with "train"'),
      hint: expect.stringContaining('await run.done'),
    };
    await expect(start('output', { worker, name: 'second' })).rejects.toMatchObject(busy);
    expect(existsSync(join(folder, 'runs', 'second'))).toBe(false);
    await expect(SAE.loadFromDisk(join(folder, 'sae'), { worker })).rejects.toMatchObject(busy);
    await run.stop();
    expect(await run.done).toMatchObject({ output: run.paths.output });
  });

  it('is had by one of two runs that start together', async () => {
    const worker = await startWorker('saver');
    const other = (name: string) => {
      const lent = { worker, runsFolder: join(folder, 'runs'), name };
      return new SAETrainingRunner(options({ hook_name: 'scheduled wait' }), lent).start();
    };
    const starts = await Promise.allSettled([other('a'), other('b')]);
    const refused = starts.find(({ status }) => status === 'rejected');
    const run = starts.find((start) => start.status === 'fulfilled')?.value;
    expect(refused).toMatchObject({ reason: { code: 'USAGE' } });
    await run?.stop();
    expect((await run?.done)?.ended).toBe('done');
  });

  it('that was shut down is refused before anything is written', async () => {
    const worker = await startWorker('saver');
    await worker.shutdown();
    await expect(start('output', { worker })).rejects.toMatchObject({ code: 'WORKER_LOST' });
    expect(existsSync(join(folder, 'runs'))).toBe(false);
  });
});

describe('a run that does not start', () => {
  it.each([
    [{ worker: {} }, 'worker'],
    [{ worker: null }, 'worker'],
    [{ runsFolder: 3 }, 'runsFolder'],
    [{ sinks: [{}] }, 'sinks: 0'],
    [{ log: {} }, 'log'],
    [{ output: 'x' }, 'output'],
    [null, 'options'],
  ])('because of the options %j says which', (wrong, what) => {
    expect(() => new SAETrainingRunner(options(), wrong as never)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(what) }),
    );
  });

  it('lets go of everything, W&B included, which is on by default', async () => {
    const closed: string[] = [];
    const sink = { name: 'mine', consume: () => {}, close: async () => void closed.push('mine') };
    const cfg = options({ model_name: 'bundled:nope', logger: { log_to_wandb: true } });
    const runner = new SAETrainingRunner(cfg, { runsFolder: join(folder, 'runs'), name: 'r', sinks: [sink] });
    await expect(runner.start()).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(closed).toEqual(['mine']);
    expect(readdirSync(join(folder, 'runs', 'r')).sort()).toEqual(['config.yaml', 'log.jsonl', 'run.json']);
  });

  it('a checkpoint to begin with that is damaged is refused before Python starts', async () => {
    const run = await start('output');
    const { output } = await run.done;
    const weights = join(output as string, 'sae_weights.safetensors');
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1] = 1;
    writeFileSync(weights, bytes);
    const cfg = options({ from_pretrained_path: dirname(weights) });
    await expect(new SAETrainingRunner(cfg, { runsFolder: join(folder, 'runs') }).start()).rejects.toMatchObject({
      code: 'SAE_INVALID',
      message: expect.stringContaining('sha256'),
    });
  });
});
