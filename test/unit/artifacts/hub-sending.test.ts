import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sendCounted } from '../../../src/artifacts/hub-sending.ts';

const BODY = new Blob(Array.from({ length: 8 }, () => new Uint8Array(50_000)));
let counted: number[];
/** The body as the network takes it, and how the request ends. */
let reader: ReadableStreamDefaultReader<Uint8Array>;
let settle: { resolve: (response: Response) => void; reject: (error: unknown) => void };

beforeEach(() => {
  counted = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  vi.stubGlobal('fetch', (_: unknown, { body, signal }: { body: Blob; signal: AbortSignal }) => {
    reader = body.stream().getReader() as ReadableStreamDefaultReader<Uint8Array>;
    return new Promise((resolve, reject) => {
      settle = { resolve, reject };
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const put = (signal?: AbortSignal): Promise<Response> => {
  const hint = { progressHint: { path: 'a.arrow' } };
  const init = { method: 'PUT', body: BODY, ...hint, ...(signal === undefined ? {} : { signal }) };
  return sendCounted((_, sentBytes) => counted.push(sentBytes))('http://hub/', init);
};
const readAll = async (): Promise<void> => {
  while (!(await reader.read()).done);
};

it('counts what is taken, and leaves no timer behind', async () => {
  const sent = put();
  await readAll();
  settle.resolve(new Response());
  expect((await sent).ok).toBe(true);
  expect(counted.at(-1)).toBe(400_000);
  expect(vi.getTimerCount()).toBe(0);
});

it('gives up on a storage that takes nothing for a minute, and waits longer for its answer', async () => {
  const stalled = put().catch((error: Error) => error.message);
  vi.advanceTimersByTime(60_000);
  expect(await stalled).toBe('no progress for 60 s');
  const unanswered = put().catch((error: Error) => error.message);
  await readAll();
  vi.advanceTimersByTime(299_000);
  vi.advanceTimersByTime(1_000);
  expect(await unanswered).toBe('no progress for 300 s');
});

it('neither counts nor keeps the process when a body is read on after its request was ended', async () => {
  const stop = new AbortController();
  const sent = put(stop.signal).catch((reason: unknown) => reason);
  await reader.read();
  stop.abort('SIGINT');
  expect(await sent).toBe('SIGINT');
  const seen = counted.length;
  await readAll();
  expect([seen < 8, counted.length]).toEqual([true, seen]);
  expect(vi.getTimerCount()).toBe(0);
});
