import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type FedActivations,
  type LanguageModelSAERunnerOptions,
  type Metrics,
  SAE,
  SAETrainingRunner,
  startWorker,
  TopKTrainingSAEConfig,
  type TrainingRun,
  type Worker,
} from '../../src/index.ts';
import { tinyModel, tinyRun } from '../fixtures/tiny-model.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';

const marker = newMarker();
let runsFolder: string;
let worker: Worker;

beforeAll(async () => {
  process.env[MARKER] = marker;
  runsFolder = mkdtempSync(join(tmpdir(), 'feed-'));
  worker = await startWorker();
});
afterAll(async () => {
  await worker.shutdown();
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

const WIDTH = 16;
const BATCH = 256;
const options = (more: Partial<LanguageModelSAERunnerOptions> = {}): LanguageModelSAERunnerOptions =>
  ({
    sae: new TopKTrainingSAEConfig({ d_sae: 64, k: 4 }),
    context_size: 32,
    store_batch_size_prompts: 4,
    n_batches_in_buffer: 4,
    train_batch_size_tokens: BATCH,
    training_tokens: 120 * BATCH,
    lr: 3e-3,
    logger: { log_to_wandb: false, wandb_log_frequency: 5 },
    device: 'cpu',
    ...more,
  }) as LanguageModelSAERunnerOptions;

const start = (
  activations: Iterable<FedActivations> | AsyncIterable<FedActivations>,
  more = {},
): Promise<TrainingRun> => new SAETrainingRunner(options(more), { worker, runsFolder, activations }).start();

/** Numbers that a seed decides. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Rows that are sums of two of eight directions: an SAE finds them. */
function sparseRows(rows: number, next: () => number): FedActivations {
  const directions = Array.from({ length: 8 }, (_, i) => {
    const draw = random(i + 1);
    return Float32Array.from({ length: WIDTH }, () => draw() - 0.5);
  });
  const activation = new Float32Array(rows * WIDTH);
  for (let row = 0; row < rows; row++) {
    for (let part = 0; part < 2; part++) {
      const direction = directions[Math.floor(next() * 8)] as Float32Array;
      const length = 1 + next();
      for (let d = 0; d < WIDTH; d++) {
        activation[row * WIDTH + d] = (activation[row * WIDTH + d] as number) + length * (direction[d] as number);
      }
    }
  }
  return { rows, dIn: WIDTH, activation };
}

/** Endless; counts what was asked of it, and whether it was told to end. */
function endless(rows: (batch: number) => number = () => 300) {
  const seen = { batches: 0, ended: false };
  async function* activations(): AsyncGenerator<FedActivations> {
    const next = random(7);
    try {
      for (;;) {
        seen.batches++;
        yield sparseRows(rows(seen.batches), next);
      }
    } finally {
      seen.ended = true;
    }
  }
  return { seen, activations: activations() };
}

describe('a run that is fed activations', () => {
  it('learns them, of ragged batches, without a model or a dataset, and lets go of the producer', async () => {
    const { seen, activations } = endless((batch) => (batch % 3) * 150);
    const run = await start(activations);
    const rows = await run.collect();
    const result = await run.done;
    expect(result).toMatchObject({ ended: 'done', nTrainingSteps: 120 });
    expect(
      rows.filter((row) => 'metrics/explained_variance' in row).at(-1)?.['metrics/explained_variance'],
    ).toBeGreaterThan(0.8);
    expect(seen.ended).toBe(true);
    const sae = await SAE.loadFromDisk(result.output as string, { worker });
    expect([sae.dIn, sae.dSae]).toEqual([WIDTH, 64]);
    await sae.close();
    const cfg = JSON.parse(readFileSync(join(result.output as string, 'cfg.json'), 'utf8'));
    expect(cfg.metadata).toMatchObject({ model_name: 'unknown', hook_name: 'unknown', dataset_path: 'unknown' });
  });

  it('gives bit for bit the losses of the run whose rows it is fed', async () => {
    const folder = tinyModel();
    const sae = new TopKTrainingSAEConfig({ d_sae: 64, k: 4 });
    const steps = 8;
    const logger = { log_to_wandb: false, wandb_log_frequency: 1 };
    const cfg = { ...tinyRun(folder, sae, 64 * steps), activations_mixing_fraction: 0, logger };
    const losses = (rows: Metrics[]): unknown[] =>
      rows.filter((row) => 'losses/mse_loss' in row).map((row) => [row.step, row['losses/mse_loss']]);

    // A tap leaves out what its reader is too slow for; the next run, which is the same, has it.
    const batches = new Map<number, FedActivations>();
    let expected: unknown[] = [];
    for (let again = 0; again < 20 && batches.size < steps; again++) {
      const live = await new SAETrainingRunner(cfg, { worker, runsFolder }).start();
      for await (const batch of live.activations()) batches.set(batch.step as number, batch);
      expected = losses(await live.collect());
      await live.done;
    }
    expect([batches.size, expected.length]).toEqual([steps, steps]);

    const activations = Array.from({ length: steps }, (_, step) => batches.get(step) as FedActivations);
    const named = { ...cfg, model_name: 'a name', dataset_path: 'another' };
    const run = await new SAETrainingRunner(named, { worker, runsFolder, activations }).start();
    expect(losses(await run.collect())).toEqual(expected);
    expect((await run.done).nTrainingSteps).toBe(steps);
  });

  it('asks the producer for no more than there is room for, however slow training is', async () => {
    const { seen, activations } = endless(() => BATCH);
    const run = await start(activations, { training_tokens: 1e9 });
    for await (const { step } of run.metrics()) {
      // The buffer (2 batches), what waits in the worker (4), what is in hand, and rows of metrics that lie behind.
      if (step > 20) break;
    }
    const before = process.memoryUsage().rss;
    for await (const { step } of run.metrics()) if (step > 300) break;
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
    await run.stop();
    const { ended, nTrainingSteps } = await run.done;
    expect(ended).toBe('stopped');
    expect(seen.batches - nTrainingSteps).toBeLessThanOrEqual(2 + 4 + 2);
    expect(seen.ended).toBe(true);
  });

  it('ends with a complete SAE when the producer ends early', async () => {
    const next = random(3);
    const run = await start(Array.from({ length: 10 }, () => sparseRows(BATCH, next)));
    const result = await run.done;
    expect(result).toMatchObject({ ended: 'data_ended', nTrainingSteps: 10 });
    expect(existsSync(join(result.output as string, 'manifest.json'))).toBe(true);
  });

  it('takes the bits of float16', async () => {
    // 1.0 and -2.0 in half precision.
    const activation = Uint16Array.from({ length: BATCH * WIDTH }, (_, i) => ((i * 7) % 3 === 0 ? 0x3c00 : 0xc000));
    const batches = Array.from({ length: 4 }, () => ({ rows: BATCH, dIn: WIDTH, activation }));
    const run = await start(batches, { activations_mixing_fraction: 0 });
    for await (const batch of run.activations()) {
      expect([batch.activation[0], batch.activation[1], batch.tokenId[0], batch.sequence[5]]).toEqual([1, -2, -1, 5n]);
      break;
    }
    expect((await run.done).nTrainingSteps).toBe(4);
  });

  it('estimates the scale on what the buffer holds, and trains on that too', async () => {
    const sae = new TopKTrainingSAEConfig({ d_sae: 64, k: 4, normalize_activations: 'expected_average_only_in' });
    const next = random(5);
    const run = await start(
      Array.from({ length: 6 }, () => sparseRows(BATCH, next)),
      { sae },
    );
    expect(await run.done).toMatchObject({ ended: 'data_ended', nTrainingSteps: 6 });
  });
});

describe('a producer that fails', () => {
  const batch = (more: object = {}): FedActivations => ({ ...sparseRows(BATCH, random(1)), ...more }) as FedActivations;
  const few = batch({ rows: 3, activation: new Float32Array(3 * WIDTH).fill(1) });

  it.each<[string, FedActivations[], string, RegExp]>([
    [
      'another width than sae.d_in',
      [batch({ dIn: 8, rows: BATCH * 2 })],
      'D_IN_MISMATCH',
      /is 8 wide, 16 was expected/,
    ],
    // The first one is too small for a step, which would leave a checkpoint.
    ['rows that do not fill the array', [few, batch({ rows: 3 })], 'USAGE', /Batch 1 .* 3 rows of 16 need 48/],
    ['numbers of another kind', [batch({ activation: [1, 2] })], 'USAGE', /must be a Float32Array/],
    [
      'token ids of another kind',
      [batch({ tokenId: new Float32Array(BATCH) })],
      'USAGE',
      /tokenId must be a Int32Array/,
    ],
    ['too few positions', [batch({ position: new Int32Array(1) })], 'USAGE', /position has 1 numbers for 256 rows/],
    ['nothing at all', [], 'DATASET_EXHAUSTED', /ended before their first row/],
    [
      'fewer rows than one training batch',
      [few],
      'DATASET_EXHAUSTED',
      /ended after 3 rows to train on; one training batch has 256/,
    ],
    [
      'NaN',
      [batch(), batch({ activation: new Float32Array(BATCH * WIDTH).fill(Number.NaN) })],
      'NOT_FINITE',
      /row 256 of the activations fed/,
    ],
  ])('by %s ends the run with a typed error', async (_, batches, code, message) => {
    const sae = new TopKTrainingSAEConfig({ d_in: WIDTH, d_sae: 64, k: 4 });
    const run = await start(batches, { sae });
    await expect(run.done).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect([existsSync(run.paths.output), existsSync(run.paths.checkpoints)]).toEqual([false, false]);
    expect(worker.state).toBe('ready');
  });

  it('by throwing what is no error ends the run with one, and lets go of the folder', async () => {
    // biome-ignore lint/correctness/useYield: it fails before its first batch
    async function* activations(): AsyncGenerator<FedActivations> {
      throw undefined;
    }
    const run = await start(activations());
    await expect(run.done).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('threw undefined'),
    });
    expect(readdirSync(run.paths.folder).filter((name) => /lock/.test(name))).toEqual([]);
  });

  it('by throwing as it is told to end does not undo a run that has finished', async () => {
    const source: Iterable<FedActivations> = {
      [Symbol.iterator]: () => ({
        next: () => ({ value: batch() }),
        return: () => {
          throw new Error('cannot return');
        },
      }),
    };
    const run = await start(source, { training_tokens: 2 * BATCH });
    expect(await run.done).toMatchObject({ ended: 'done', nTrainingSteps: 2 });
  });

  it('by throwing ends the run with that very error, and keeps what was learned', async () => {
    const failure = new Error('the camera is off');
    async function* activations(): AsyncGenerator<FedActivations> {
      for (let i = 0; i < 20; i++) yield batch();
      throw failure;
    }
    const run = await start(activations(), { training_tokens: 1e9 });
    await expect(run.done).rejects.toBe(failure);
    const [checkpoint = ''] = readdirSync(run.paths.checkpoints);
    expect(readdirSync(join(run.paths.checkpoints, checkpoint))).toContain('manifest.json');
    expect(worker.state).toBe('ready');
  });

  it('by never yielding can be stopped', async () => {
    const silent: AsyncIterable<FedActivations> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const run = await start(silent);
    await run.stop();
    expect(await run.done).toMatchObject({ ended: 'stopped', nTrainingSteps: 0, output: null });
  });

  it('is refused beside a cache, and when it is none', () => {
    const cached = { use_cached_activations: true, cached_activations_path: 'x' };
    expect(() => new SAETrainingRunner(options(cached), { activations: [] })).toThrow(/come from one place/);
    expect(() => new SAETrainingRunner(options(), { activations: 3 as never })).toThrow(/must be iterable/);
  });
});
