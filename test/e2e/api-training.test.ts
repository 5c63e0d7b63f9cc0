import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type ActivationBatch,
  type Metrics,
  type RunEvent,
  SAETrainingRunner,
  startWorker,
  TopKTrainingSAEConfig,
  type TrainingRun,
  type Worker,
} from '../../src/index.ts';
import { CONTEXT, HELD_OUT, tinyModel, tinyRun, tokenAt } from '../fixtures/tiny-model.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';

const marker = newMarker();
let folder: string;
let worker: Worker;
const events: RunEvent[] = [];
const sink = { name: 'kept', consume: (event: RunEvent) => void events.push(event), close: async () => {} };

beforeAll(async () => {
  process.env[MARKER] = marker;
  folder = tinyModel();
  worker = await startWorker();
});
afterAll(async () => {
  await worker.shutdown();
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

function start(training_tokens: number, options: { worker?: Worker } = { worker }): Promise<TrainingRun> {
  const cfg = tinyRun(folder, new TopKTrainingSAEConfig({ d_in: 32, d_sae: 64, k: 4 }), training_tokens);
  return new SAETrainingRunner(cfg, { ...options, runsFolder: join(folder, 'runs'), sinks: [sink] }).start();
}

const collect = async (run: TrainingRun): Promise<Metrics[]> => {
  const rows: Metrics[] = [];
  for await (const m of run.metrics()) rows.push(m);
  return rows;
};

it('gives every reader all metrics, early, late and after the end; one that leaves disturbs nobody', async () => {
  const run = await start(3_200);
  const leaves = (async () => {
    for await (const m of run.metrics()) return m.step;
  })();
  const [first, second] = [collect(run), collect(run)];
  const result = await run.done;
  expect(await leaves).toBe((await first)[0]?.step);
  expect(result).toMatchObject({ ended: 'done', nTrainingSteps: 50, nTrainingSamples: 3_200 });
  expect((await first).length).toBeGreaterThan(9);
  expect(await second).toEqual(await first);
  expect(await run.collect()).toEqual(await first);
  const losses = (await first).filter((m) => 'losses/mse_loss' in m);
  expect(losses.at(-1)?.['losses/mse_loss']).toBeLessThan(losses[0]?.['losses/mse_loss'] as number);
  expect(result.metrics['metrics/l0']).toBe(4);
  expect(existsSync(join(result.output as string, 'manifest.json'))).toBe(true);
});

it('taps the activations it trains on: those of the model at these tokens', async () => {
  const run = await start(640);
  const batches: ActivationBatch[] = [];
  for await (const batch of run.activations()) batches.push(batch);
  await run.done;
  expect(batches.length).toBeGreaterThan(1);

  const rows = batches.flatMap(({ sequence }) => [...sequence].map(Number));
  const sequences = [...new Set(rows)];
  const row = (n: number) => Array.from({ length: CONTEXT }, (_, position) => tokenAt(n + HELD_OUT, position));
  writeFileSync(join(folder, 'tokens.json'), JSON.stringify(sequences.map(row)));
  const script = 'test/fixtures/reference.py';
  execFileSync(pythonForTests(), [
    script,
    'hidden',
    join(folder, 'model'),
    '0',
    join(folder, 'tokens.json'),
    join(folder, 'x'),
  ]);
  const expected = new Float32Array(readFileSync(join(folder, 'x')).buffer);
  let worst = 0;
  for (const { rows, dIn, activation, tokenId, position, sequence } of batches) {
    expect(dIn).toBe(32);
    for (let n = 0; n < rows; n++) {
      const at = Number(position[n]);
      expect(tokenId[n]).toBe(tokenAt(Number(sequence[n]) + HELD_OUT, at));
      const from = (sequences.indexOf(Number(sequence[n])) * CONTEXT + at) * dIn;
      for (let d = 0; d < dIn; d++) {
        worst = Math.max(worst, Math.abs((activation[n * dIn + d] as number) - (expected[from + d] as number)));
      }
    }
  }
  expect(worst).toBeLessThan(1e-5);
});

it('ends a tap when its reader leaves; the run goes on', async () => {
  const run = await start(640);
  for await (const _ of run.activations()) break;
  expect((await run.done).ended).toBe('done');
});

it('stops on request with a checkpoint, and takes one in between', async () => {
  const run = await start(6_400_000);
  const checkpoint = new Promise<string>((resolve) => {
    const look = setInterval(() => {
      const found = events.find((event) => event.kind === 'checkpoint' && event.path.startsWith(run.paths.checkpoints));
      if (found?.kind !== 'checkpoint') return;
      clearInterval(look);
      resolve(found.path);
    }, 20);
  });
  for await (const m of run.metrics()) if (m.step > 20) break;
  await run.checkpointNow();
  expect(readdirSync(await checkpoint)).toContain('sae_weights.safetensors');
  await run.stop();
  const result = await run.done;
  expect(result).toMatchObject({ ended: 'stopped', output: null });
  expect(existsSync(join(result.checkpoint as string, 'manifest.json'))).toBe(true);
  expect(result.checkpoint).not.toBe(await checkpoint);
  await run.stop();
  await run.kill();
  const interrupted = await SAETrainingRunner.resume(run.name, { worker, runsFolder: join(folder, 'runs') });
  const resumed = await interrupted.start();
  for await (const m of resumed.metrics()) {
    expect(m.step).toBeGreaterThanOrEqual(result.nTrainingSteps);
    break;
  }
  await resumed.stop();
  expect((await resumed.done).nTrainingSteps).toBeGreaterThan(result.nTrainingSteps);
  await expect(run.checkpointNow()).rejects.toMatchObject({ code: 'USAGE' });
  expect(worker.state).toBe('ready');
});

it('keeps the language model of a worker of one’s own: only the first run loads it', () => {
  const loading = events.filter((event) => event.kind === 'stage' && /^loading .*model/.test(event.message));
  const kept = events.filter((event) => event.kind === 'log' && /is loaded already/.test(event.message));
  expect([loading.length, kept.length]).toEqual([1, 3]);
  expect(worker.state).toBe('ready');
});

it('is killed at once: done rejects, readers end with the error, nothing is left', async () => {
  const run = await start(6_400_000, {});
  for await (const m of run.metrics()) if (m.step > 5) break;
  const began = performance.now();
  await run.kill();
  await expect(run.done).rejects.toMatchObject({ code: 'INTERRUPTED' });
  await expect(collect(run)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(performance.now() - began).toBeLessThan(2_000);
});
