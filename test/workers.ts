import { fileURLToPath } from 'node:url';
import { afterAll, expect } from 'vitest';
import { Worker, type WorkerOptions } from '../src/worker/worker.ts';
import { MARKER, newMarker, orphans } from './orphans.ts';
import { pythonForTests } from './python-for-tests.ts';

/** The script of a worker in test/fixtures/workers. */
export const workerScript = (name: string): string =>
  fileURLToPath(new URL(`./fixtures/workers/${name}.py`, import.meta.url));

/** Starts workers for one test file, and checks at its end that nothing of them is left. */
export function workersForTests(): {
  marker: string;
  start: (script?: string, options?: Partial<WorkerOptions>) => Promise<Worker>;
} {
  const marker = newMarker();
  const started: Worker[] = [];
  afterAll(async () => {
    await Promise.all(started.map((worker) => worker.kill()));
    expect(await orphans(marker), 'processes left behind').toEqual([]);
  });
  return {
    marker,
    start: async (script = 'echo_worker', options = {}) => {
      const worker = await Worker.start({
        python: pythonForTests(),
        entry: workerScript(script),
        ...options,
        env: { [MARKER]: marker, ...options.env },
      });
      started.push(worker);
      return worker;
    },
  };
}
