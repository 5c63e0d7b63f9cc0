import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { StageClock } from '../../../src/worker/stage-clock.ts';

const MINUTE = 60_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** How many minutes of silence a stage was given. */
function patience(stage: string | null, deadlinesMs = {}): number {
  let stalledMs = 0;
  const clock = new StageClock(deadlinesMs, (_, silentMs) => {
    stalledMs = silentMs;
  });
  clock.running = true;
  if (stage !== null) clock.moved(stage);
  vi.advanceTimersByTime(180 * MINUTE);
  clock.running = false;
  return Math.floor(stalledMs / MINUTE);
}

describe('the silence of a stage', () => {
  it.each([
    ['load_model', 120],
    ['open_dataset', 120],
    ['init_b_dec', 60],
    ['train', 10],
    [null, 10],
  ])('%s may last %i minutes', (stage, minutes) => {
    expect(patience(stage)).toBe(minutes);
  });

  it('may last as long as the caller says; the stages not named keep theirs', () => {
    expect(patience('train', { train: 5 * MINUTE })).toBe(5);
    expect(patience('evaluate', { default: 3 * MINUTE })).toBe(3);
    expect(patience('load_model', { default: 3 * MINUTE })).toBe(120);
  });

  it('is 20 times the usual step where steps are slow, and never less than the above where they are quick', () => {
    let stalledMs = 0;
    const clock = new StageClock({}, (stage, silentMs) => {
      expect(stage).toBe('train');
      stalledMs = silentMs;
    });
    const patienceAfter = (stepMs: number): number => {
      clock.running = true;
      for (let step = 0; step < 20; step++) {
        clock.moved('train');
        vi.advanceTimersByTime(step === 10 ? 9 * MINUTE : stepMs);
        clock.touch(); // a row of metrics is a sign of life and no step
      }
      clock.moved('evaluate');
      clock.moved('train');
      vi.advanceTimersByTime(180 * MINUTE);
      return Math.floor(stalledMs / MINUTE);
    };
    expect(patienceAfter(2 * MINUTE)).toBe(40);
    expect(patienceAfter(1_000)).toBe(10);
  });

  it('an hour in which this machine slept is no silence, and a clock that is set back changes nothing', () => {
    const stalls: number[] = [];
    const clock = new StageClock({}, (_, silentMs) => stalls.push(silentMs));
    const now = performance.now.bind(performance);
    let asleepMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + asleepMs);
    clock.running = true;
    vi.advanceTimersByTime(5 * MINUTE);
    // A lid that is closed: no timer runs, and the clock has gone on when they run again.
    asleepMs = 60 * MINUTE;
    vi.setSystemTime(Date.now() - 24 * 60 * MINUTE);
    vi.advanceTimersByTime(4 * MINUTE);
    expect(stalls).toEqual([]);
    vi.advanceTimersByTime(2 * MINUTE);
    expect(stalls).toHaveLength(1);
    vi.restoreAllMocks();
  });
});
