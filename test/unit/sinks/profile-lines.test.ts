import { expect, it } from 'vitest';
import { profileLines } from '../../../src/sinks/profile-lines.ts';

it('a profile is a table, longest part first, with what no step can do without', () => {
  const parts = [
    { part: 'decode', seconds: 0.5, calls: 10 },
    { part: 'encode', seconds: 1.5, calls: 10 },
  ];
  expect(profileLines({ kind: 'profile', n_steps: 10, parts, product_s: 1 })).toEqual([
    'Where the time of 10 steps went (2s, 200 ms each):',
    '  encode            75.0 %  150 ms',
    '  decode            25.0 %  50 ms',
    '  The products with the encoder alone would take 100 ms a step here: 50.0 % of it.',
  ]);
});

it('a run without steps has no profile to show', () => {
  expect(profileLines({ kind: 'profile', n_steps: 0, parts: [], product_s: 0 })).toEqual([]);
});
