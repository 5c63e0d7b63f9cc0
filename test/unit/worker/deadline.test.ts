import { once } from 'node:events';
import { afterEach, expect, it, vi } from 'vitest';
import { untilGone } from '../../../src/worker/deadline.ts';

afterEach(() => void vi.useRealTimers());

it('a killed process that stays is not waited for for ever, and is named', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const warned = once(process, 'warning');
  const waited = untilGone(new Promise(() => {}), 4711);
  await vi.advanceTimersByTimeAsync(10_000);
  await waited;
  expect((await warned)[0].message).toBe('Python process 4711 was killed and is still there after 10 s');
});
