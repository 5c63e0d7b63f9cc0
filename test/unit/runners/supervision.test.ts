import { describe, expect, it } from 'vitest';
import { SaeLensError } from '../../../src/errors.ts';
import { MOST_RESTARTS, STARTED, type Supervision, supervised } from '../../../src/runners/supervision.ts';

const lost = new SaeLensError('WORKER_LOST', 'The worker was killed', {
  hint: 'resume',
  details: { signal: 'SIGKILL' },
});
const failed = (error: unknown, progressed = false) => ({ kind: 'failed', error, progressed }) as const;
const waited = { kind: 'waited' } as const;

describe('a supervised run', () => {
  it('is restarted after 1, 4 and 16 seconds, and given up when no checkpoint was written in between', () => {
    let state = STARTED;
    const delays: number[] = [];
    for (let n = 0; n < MOST_RESTARTS; n++) {
      state = supervised(state, failed(lost));
      if (state.at === 'waiting') delays.push(state.delayMs);
      state = supervised(state, waited);
    }
    expect(delays).toEqual([1_000, 4_000, 16_000]);
    state = supervised(state, failed(lost));
    expect(state).toMatchObject({ at: 'given_up', error: { code: 'WORKER_LOST', hint: 'resume' } });
    expect(state.at === 'given_up' && state.error).toMatchObject({
      message: expect.stringContaining('restarted 3 times and got no further'),
      details: { signal: 'SIGKILL', restarts: 3 },
    });
  });

  it('is restarted only once when the kernel killed it for memory: the plan is the same', () => {
    const killed = new SaeLensError('WORKER_LOST', 'The worker was killed', { details: { outOfMemory: true } });
    const again = supervised(STARTED, failed(killed));
    expect(again).toMatchObject({ at: 'waiting', restarts: 1 });
    expect(supervised(supervised(again, waited), failed(killed))).toMatchObject({ at: 'given_up' });
  });

  it('begins to count anew with every new checkpoint', () => {
    let state = STARTED;
    for (let n = 0; n < 20; n++) {
      state = supervised(state, failed(lost, true));
      expect(state).toEqual({ at: 'waiting', restarts: 1, delayMs: 1_000 });
      state = supervised(state, waited);
    }
  });

  it.each(['WORKER_LOST', 'WORKER_STALLED'] as const)('is restarted after %s', (code) => {
    expect(supervised(STARTED, failed(new SaeLensError(code, 'gone')))).toMatchObject({ at: 'waiting', restarts: 1 });
  });

  it.each(['NOT_FINITE', 'OUT_OF_MEMORY', 'CONFIG_INVALID', 'INTERRUPTED', 'STORAGE', 'BUG'] as const)(
    'is not restarted after %s: it would end the same way',
    (code) => {
      const error = new SaeLensError(code, 'as it was');
      expect(supervised(STARTED, failed(error, true))).toEqual({ at: 'given_up', error });
    },
  );

  it('is not restarted after what is no error of ours, nor where nobody wants it', () => {
    const error = new TypeError('a fault');
    expect(supervised(STARTED, failed(error))).toEqual({ at: 'given_up', error });
    expect(supervised(STARTED, failed(lost), 0)).toEqual({ at: 'given_up', error: lost });
  });

  it('never runs on without end, and never twice at once: tried with every course of eight events', () => {
    const events = [waited, failed(lost), failed(lost, true)];
    const walk = (before: Supervision, depth: number): void => {
      for (const event of depth === 0 ? [] : events) {
        const state = supervised(before, event);
        if (before.at === 'given_up') expect(state).toBe(before);
        if (before.at === 'waiting' && event.kind === 'failed') expect(state).toBe(before);
        if (state.at !== 'given_up') expect(state.restarts).toBeLessThanOrEqual(MOST_RESTARTS);
        walk(state, depth - 1);
      }
      let state = before;
      for (let n = 0; n <= MOST_RESTARTS; n++) state = supervised(supervised(state, waited), failed(lost));
      expect(supervised(state, waited).at).toBe('given_up');
    };
    walk(STARTED, 8);
  });
});
