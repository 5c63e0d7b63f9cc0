import { afterEach, describe, expect, it, vi } from 'vitest';
import { SaeLensError } from '../../src/errors.ts';
import { isAlive } from '../orphans.ts';
import { workersForTests } from '../workers.ts';

const { start } = workersForTests();
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The error a promise rejects with. */
const failure = async (promise: Promise<unknown>): Promise<SaeLensError> => {
  const error = await promise.then(
    () => expect.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SaeLensError);
  return error as SaeLensError;
};

describe('a worker that does not start (W7, W11, W12)', () => {
  it('reports a missing interpreter with the command that makes one', async () => {
    const error = await failure(start('echo_worker', { python: '/no/such/python' }));
    expect(error.code).toBe('PYTHON_NOT_FOUND');
    expect(error.message).toContain('/no/such/python');
    expect(error.hint).toContain('sae-lens-ts setup');
  });

  it('reports death before hello at once, with what it printed', async () => {
    const since = performance.now();
    const error = await failure(start('dies'));
    expect(performance.now() - since).toBeLessThan(5_000);
    expect(error.code).toBe('WORKER_START');
    expect(error.message).toContain('torch_of_dreams');
    expect(error.details).toMatchObject({ exitCode: 1, signal: null });
  });

  it('gives up on a worker that never says hello, and says what it printed', async () => {
    const error = await failure(start('mute', { startTimeoutMs: 1_000 }));
    expect(error.code).toBe('WORKER_START');
    expect(error.message).toMatch(/not ready after 1000 ms[\s\S]*still importing/);
  });

  it('refuses a worker of another version, naming both and the fix', async () => {
    const error = await failure(start('wrong_version'));
    expect(error.code).toBe('PROTOCOL');
    expect(error.message).toMatch(/speaks protocol 99 .* speaks protocol 1 /);
    expect(error.hint).toContain('npm');
  });
});

describe('a worker that is lost (W1, W3, W10)', () => {
  it('rejects every request once when it is killed, naming signal, stage and the likely cause', async () => {
    const worker = await start();
    const running = worker.request('sleep', { seconds: 60 });
    const waiting = worker.request('echo');
    await later(600);
    process.kill(worker.pid, 'SIGKILL');
    const error = await failure(running.result);
    expect(error.code).toBe('WORKER_LOST');
    expect(error.message).toMatch(/killed by SIGKILL, most likely out of memory during "sleep", stage "sleep" at 7/);
    expect(error.details).toMatchObject({ signal: 'SIGKILL', op: 'sleep', stage: 'sleep', done: 7 });
    expect((await failure(waiting.result)).code).toBe('WORKER_LOST');
    expect((await worker.ended)?.code).toBe('WORKER_LOST');
    expect((await failure(worker.request('echo').result)).code).toBe('WORKER_LOST');
  });

  it('shows the Python stack of a crash', async () => {
    const worker = await start();
    const error = await failure(worker.request('fail', { how: 'segfault' }).result);
    expect(error.message).toMatch(/killed by SIGSEGV[\s\S]*Segmentation fault[\s\S]*in fail/);
  });

  it('treats exit code 0 without an answer as a loss', async () => {
    const worker = await start();
    const error = await failure(worker.request('fail', { how: 'exit' }).result);
    expect(error.code).toBe('WORKER_LOST');
    expect(error.message).toContain('exited with code 0');
  });

  it('takes its own children with it (W13)', async () => {
    const worker = await start();
    const { value } = await worker.request('child').result;
    const { pid } = value as { pid: number };
    expect(isAlive(pid)).toBe(true);
    process.kill(worker.pid, 'SIGKILL');
    await worker.ended;
    await expect.poll(() => isAlive(pid)).toBe(false);
  });
});

describe('a worker whose handler fails (W4)', () => {
  it('passes on an error made on purpose with its code, hint and details', async () => {
    const worker = await start();
    const error = await failure(worker.request('fail', { how: 'worker_error' }).result);
    expect(error).toMatchObject({ code: 'HOOK_NOT_FOUND', message: 'no such hook', hint: 'look' });
    expect(error.details).toMatchObject({ nearest: ['a'] });
    await worker.shutdown();
  });

  it('tells our bug, lack of memory and an unknown operation apart, and lives on', async () => {
    const worker = await start();
    const bug = await failure(worker.request('fail', { how: 'exception' }).result);
    expect(bug.code).toBe('BUG');
    expect(bug.message).toContain('ZeroDivisionError');
    expect(bug.details.traceback).toContain('echo_worker.py');
    expect((await failure(worker.request('fail', { how: 'memory' }).result)).code).toBe('OUT_OF_MEMORY');
    expect((await failure(worker.request('fail', { how: 'not_json' }).result)).code).toBe('BUG');
    expect((await failure(worker.request('no_such_op').result)).message).toContain('no_such_op');
    expect((await worker.request('echo', { ok: 1 }).result).value).toEqual({ ok: 1 });
    await worker.shutdown();
  });
});

describe('a worker that stalls (W5, W6)', () => {
  it('is noticed when it is stopped, because libzmq in it no longer answers', async () => {
    const worker = await start('echo_worker', { heartbeat: { intervalMs: 200, timeoutMs: 1_000 } });
    const job = worker.request('sleep', { seconds: 60 });
    await later(300);
    process.kill(worker.pid, 'SIGSTOP');
    const since = performance.now();
    const error = await failure(job.result);
    expect(error.code).toBe('WORKER_STALLED');
    expect(performance.now() - since).toBeLessThan(10_000);
  });

  it('is not killed while it holds the GIL longer than the heartbeat', async () => {
    const worker = await start('echo_worker', { heartbeat: { intervalMs: 200, timeoutMs: 1_000 } });
    await worker.request('spin', { seconds: 4 }).result;
    await worker.shutdown();
  });

  it('is killed at the deadline of its stage, with the stacks of its threads', async () => {
    const worker = await start('echo_worker', { stageDeadlinesMs: { sleep: 1_500 } });
    const error = await failure(worker.request('sleep', { seconds: 60 }).result);
    expect(error.code).toBe('WORKER_STALLED');
    expect(error.message).toMatch(/no progress for \d+ s during "sleep", stage "sleep"/);
    expect(error.details.output).toContain('in sleep');
  });

  it('lives as long as it shows progress', async () => {
    const worker = await start('echo_worker', { stageDeadlinesMs: { default: 1_200 } });
    const job = worker.request('until_stopped');
    await later(3_000);
    await job.stop();
    await job.result;
    await worker.shutdown();
  });
});

describe('an orchestrator that stands still (L8)', () => {
  it('is waited for: the worker neither dies nor loses what it said, and goes on', async () => {
    const seen: number[] = [];
    const worker = await start('echo_worker', { heartbeat: { intervalMs: 200, timeoutMs: 10_000 } });
    let dropped = 0;
    const job = worker.request(
      'rows',
      { n: 20_000 },
      {
        onMetrics: ({ header, columns }) => {
          dropped += header.dropped;
          seen.push(...(columns[0] as Float64Array));
        },
      },
    );
    await expect.poll(() => seen.length).toBeGreaterThan(0);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    await job.result;
    expect(seen.length + dropped).toBeGreaterThanOrEqual(20_000);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect((await worker.request('echo', { ok: 1 }).result).value).toEqual({ ok: 1 });
    await worker.shutdown();
  });
});

describe('a question that is never answered', () => {
  afterEach(() => void vi.useRealTimers());

  it('is given up, and does not count as work of an idle worker', async () => {
    const worker = await start('hangs_up', { stageDeadlinesMs: { default: 500 } });
    await later(1_300);
    const job = worker.request('endless');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const asked = failure(job.stop());
    await vi.advanceTimersByTimeAsync(60_000);
    vi.useRealTimers();
    expect(await asked).toMatchObject({ code: 'WORKER_STALLED' });
    await job.result;
    await later(3_000);
    expect(worker.state).toBe('ready');
  });
});

describe('a request that cannot be sent', () => {
  it('is refused, and leaves no gap before the next one', async () => {
    const worker = await start('hangs_up', { sendTimeoutMs: 300 });
    await later(300);
    const error = await failure(worker.request('lost').result);
    expect(error.code).toBe('WORKER_LOST');
    expect(error.message).toContain('Cannot send to the worker');
    await later(1_200);
    // 0 was the welcome.
    expect((await worker.request('heard').result).value).toEqual({ seq: 1 });
  });

  it('because it is no JSON is its own failure, not the next one’s', async () => {
    const worker = await start();
    await expect(worker.request('echo', { long: 1n }).result).rejects.toThrow('BigInt');
    expect((await worker.request('echo', { ok: 1 }).result).value).toEqual({ ok: 1 });
    await worker.shutdown();
  });
});

describe('a worker that talks too much (W9)', () => {
  it('may print 100 MB without a newline and what is not text', async () => {
    const lines: string[] = [];
    const worker = await start('echo_worker', { onLog: (_, line) => lines.push(line) });
    await worker.request('noise', { mib: 100 }).result;
    await worker.shutdown();
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(4_200);
    expect(lines.find((line) => line.includes('more characters'))).toContain('xxx');
    expect(lines.find((line) => line.includes('not utf-8'))).toMatch(/not utf-8 red$/);
    expect(lines).toContain('last line');
  });
});

describe('the end of a worker', () => {
  it('is forced when it does not leave in time', async () => {
    const worker = await start();
    const job = worker.request('spin', { seconds: 600 });
    await later(800);
    const since = performance.now();
    await worker.shutdown({ deadlineMs: 500 });
    expect(performance.now() - since).toBeLessThan(3_000);
    expect((await failure(job.result)).code).toBe('INTERRUPTED');
    expect(isAlive(worker.pid)).toBe(false);
  });

  it('by kill leaves nothing and rejects what runs', async () => {
    const worker = await start();
    const job = worker.request('sleep', { seconds: 60 });
    await worker.kill();
    expect((await failure(job.result)).code).toBe('INTERRUPTED');
    expect(worker.state).toBe('ended');
  });
});
