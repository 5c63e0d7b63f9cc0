import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MARKER, marked, newMarker, orphans } from '../orphans.ts';
import { program } from '../programs.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { workerScript } from '../workers.ts';

const marker = newMarker();
let file: string;

beforeAll(async () => {
  file = await program('orchestrator');
});
afterAll(async () => expect(await orphans(marker), 'processes left behind').toEqual([]));

/** An orchestrator whose worker is busy with `op`. */
async function orchestrator(op: string, params = {}): Promise<ChildProcess> {
  const args = [file, pythonForTests(), workerScript('echo_worker'), op, JSON.stringify(params)];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, MARKER, VALUE: marker },
  });
  await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), once(child, 'exit')]);
  return child;
}

it.each([
  ['while its worker waits', 'sleep', { seconds: 600 }],
  ['while its worker holds the GIL', 'spin', { seconds: 600 }],
  ['while its worker has children of its own', 'child', {}],
  ['while its worker trains', 'until_stopped', {}],
])('nothing is left 5 s after the orchestrator is killed %s (P3, L5)', async (_, op, params) => {
  const child = await orchestrator(op, params);
  expect(marked(marker).length).toBeGreaterThanOrEqual(2);
  child.kill('SIGKILL');
  expect(await orphans(marker, 5_000)).toEqual([]);
});

it('nothing is left when the orchestrator calls process.exit', async () => {
  const child = await orchestrator('exit');
  expect(child.exitCode).toBe(3);
  expect(await orphans(marker, 1_000)).toEqual([]);
});
