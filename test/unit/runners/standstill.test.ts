import { setTimeout as later } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { watchForStandstill } from '../../../src/runners/standstill.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';

const block = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

it('an event loop that stood still for more than a second is told, once a minute, and a shorter wait is not (L8)', async () => {
  const log = keepLog();
  const end = watchForStandstill(log);
  block(600);
  await later(700);
  expect(log.lines).toEqual([]);
  block(2_200);
  await later(20);
  expect(log.lines).toEqual([expect.stringMatching(/^Node stood still for (1\.[6-9]|2\.\d) s: .*; training waited$/)]);
  block(2_200);
  await later(20);
  expect(log.lines).toHaveLength(1);
  end();
});
