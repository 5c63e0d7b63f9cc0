import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { Batch } from '../../../src/worker/data-plane.ts';
import type { Job } from '../../../src/worker/job.ts';
import { float32Array, float32Values, type JobEvent } from '../../../src/worker/job.ts';
import { workerEnvironment } from '../../../src/worker/process.ts';
import { workersForTests } from '../../workers.ts';

const { start } = workersForTests();

/** Rows of a metrics batch. */
const rowsOf = ({ stream, header, columns }: Batch): Record<string, number>[] =>
  Array.from({ length: header.rows }, (_, row) =>
    Object.fromEntries(stream.columns.map((c, i) => [c.name, Number(columns[i]?.[row])])),
  );

describe('a worker', () => {
  it('starts, answers, and leaves nothing behind when it is shut down', async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('sl-'));
    const worker = await start();
    expect(worker.state).toBe('ready');
    expect(worker.python).toMatch(/^3\./);
    expect((await worker.request('ping').result).value).toEqual({ busy: 0 });
    await worker.shutdown();
    expect(worker.state).toBe('ended');
    expect(await worker.ended).toBeUndefined();
    const left = readdirSync(tmpdir()).filter((name) => name.startsWith('sl-') && !before.includes(name));
    expect(left).toEqual([]);
  });

  it('gives back parameters and arrays of every shape exactly', async () => {
    const worker = await start();
    const values = Float32Array.from([1.5, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-40, 6]);
    const arrays = [
      float32Array('matrix', values, [2, 3]),
      float32Array('vector', values.subarray(1), [5]),
      float32Array('cube', values, [1, 2, 3]),
      { name: 'long', type: 'int64' as const, shape: [2], values: BigInt64Array.from([1n, -(2n ** 60n)]) },
      float32Array('no rows', new Float32Array(0), [0, 3]),
    ];
    const { value, arrays: back } = await worker.call('echo', { a: [1, null, 'ü'] }, arrays);
    expect(value).toEqual({ a: [1, null, 'ü'] });
    expect(back.map((a) => a.shape)).toEqual([[2, 3], [5], [1, 2, 3], [2], [0, 3]]);
    expect(back.map((array) => array.values)).toEqual(arrays.map((array) => array.values));
    await worker.shutdown();
  });

  it('delivers every metrics row, NaN and inf included, before the result', async () => {
    const worker = await start();
    const batches: Batch[] = [];
    const events: JobEvent[] = [];
    const job = worker.request(
      'rows',
      { n: 1000 },
      {
        onMetrics: (batch) => batches.push(batch),
        onEvent: (event) => events.push(event),
      },
    );
    await job.result;
    const train = batches.filter((b) => b.stream.name === 'train').flatMap(rowsOf);
    expect(train.map((row) => row.step)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(train[1]?.loss).toBeNaN();
    const evals = batches.filter((b) => b.stream.name === 'eval').flatMap(rowsOf);
    expect(evals).toHaveLength(10);
    expect(evals[0]).toEqual({ step: 0, ce: Number.POSITIVE_INFINITY, l0: 3 });
    expect(events.at(-1)).toEqual({ kind: 'stage', data: { stage: 'train', message: '', done: 1000, total: 1000 } });
    await worker.shutdown();
  });

  it('stops and checkpoints a running job when it is asked to', async () => {
    const worker = await start();
    const kinds: string[] = [];
    const job = worker.request('until_stopped', {}, { onEvent: ({ kind }) => kinds.push(kind) });
    await job.checkpointNow();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await job.stop()).toEqual({ running: true });
    const { value } = await job.result;
    expect(value).toMatchObject({ checkpoints: 1 });
    expect(kinds).toContain('checkpoint');
    expect(await job.stop()).toEqual({ running: false });
    await worker.shutdown();
  });

  it('takes no checkpoint of a job that has ended, though its result is on the way still', async () => {
    const worker = await start();
    // On a busy machine the result may be read before we hold the loop: then once more.
    let job: Job;
    do {
      job = worker.request('echo');
      await new Promise((resolve) => setTimeout(resolve, 0));
      // We read nothing meanwhile, and the worker ends its job.
      for (const until = performance.now() + 1_000; performance.now() < until; );
    } while (job.settled);
    const asked = job.checkpointNow();
    await expect(asked).rejects.toMatchObject({ code: 'USAGE' });
    await worker.shutdown();
  });

  it('cancels by an AbortSignal, also a request that still waits', async () => {
    const worker = await start();
    const first = new AbortController();
    const second = new AbortController();
    const running = worker.request('until_stopped', {}, { signal: first.signal });
    const waiting = worker.request('until_stopped', {}, { signal: second.signal });
    second.abort();
    first.abort();
    await expect(running.result).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await expect(waiting.result).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect((await worker.request('echo', { still: 'alive' }).result).value).toEqual({ still: 'alive' });
    await worker.shutdown();
  });

  it('sends activations only where there is room, and says how many batches it dropped', async () => {
    const worker = await start();
    const batches: Batch[] = [];
    const job = worker.request(
      'taps',
      { rows: 8, d: 3, steps: 200, dtype: 'float32', sleep: 0.002 },
      {
        onActivations: (batch) => {
          batches.push(batch);
          // A slow consumer: room for the next one comes 50 ms later.
          setTimeout(() => job.credit(1), 50);
        },
      },
    );
    job.credit(2);
    expect((await job.result).value).toEqual({ asked: 200 });
    expect(batches.length).toBeGreaterThan(3);
    expect(batches.length).toBeLessThan(60);
    expect(batches.reduce((sum, b) => sum + b.header.dropped, 0)).toBeGreaterThan(50);
    const [first] = batches;
    expect(first?.stream.columns.map((c) => c.name)).toEqual(['token_id', 'position', 'sequence', 'activation']);
    expect(first?.columns[2]).toEqual(BigInt64Array.from([0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n]));
    expect(first?.columns[3]).toEqual(Float32Array.from({ length: 24 }, (_, i) => i));
    await worker.shutdown();
  });

  it('widens half precision', async () => {
    const worker = await start();
    const batches: Batch[] = [];
    const job = worker.request(
      'taps',
      { rows: 2, d: 3, steps: 400, dtype: 'float16', sleep: 0.005 },
      {
        onActivations: (batch) => {
          batches.push(batch);
          void job.stop();
        },
      },
    );
    job.credit(1);
    await job.result;
    const [batch] = batches;
    const column = batch?.stream.columns[3];
    expect(column?.type).toBe('float16');
    const array = { name: 'x', type: 'float16' as const, shape: [2, 3], values: batch?.columns[3] as Uint16Array };
    expect(float32Values(array)).toEqual(Float32Array.from([0, 1, 2, 3, 4, 5]));
    await worker.shutdown();
  });

  it('delivers everything it sent before a shutdown ends it', async () => {
    const worker = await start();
    let steps = 0;
    const job = worker.request('until_stopped', {}, { onMetrics: ({ header }) => (steps += header.rows) });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await worker.shutdown();
    const { value } = await job.result;
    expect(steps).toBeGreaterThan(0);
    expect(value).toMatchObject({ steps });
  });

  it('works over tcp on this machine', async () => {
    const worker = await start('echo_worker', { transport: 'tcp' });
    const { arrays } = await worker.call('echo', {}, [float32Array('x', Float32Array.from([1, 2]), [2])]);
    expect(arrays[0]?.values).toEqual(Float32Array.from([1, 2]));
    await worker.shutdown();
  });

  it('keeps the memory of a tensor for the next one, unless the user says otherwise', () => {
    const mine = { PATH: '/bin', MALLOC_TRIM_THRESHOLD_: '0' };
    expect(workerEnvironment(mine, {})).toMatchObject({ ...mine, MALLOC_MMAP_THRESHOLD_: String(2 ** 28) });
    expect(workerEnvironment({}, {}).MALLOC_TRIM_THRESHOLD_).toBe(String(2 ** 30));
  });

  it('sees an environment without what could change its code', async () => {
    const planted = { LD_PRELOAD: '', PYTHONSTARTUP: '/x', PYTHONPATH: '/x', MY_SECRET: 's', WANDB_API_KEY: 's' };
    Object.assign(process.env, planted);
    try {
      const worker = await start();
      const { value } = await worker.request('environment').result;
      const { variables, path, argv, pgid } = value as {
        variables: string[];
        path: string[];
        argv: string[];
        pgid: number;
      };
      expect(variables.filter((name) => name in planted)).toEqual([]);
      expect(variables).toContain('PATH');
      expect(path).not.toContain('');
      expect(path).not.toContain('/x');
      expect(argv).toHaveLength(1);
      expect(pgid).toBe(worker.pid);
      await worker.shutdown();
    } finally {
      for (const name of Object.keys(planted)) delete process.env[name];
    }
  });
});
