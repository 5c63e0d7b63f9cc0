import { expect, test } from 'vitest';
import { tableText } from '../../../src/cli/table.ts';

test('whatever a name holds, lines and escape sequences too, it stays in its row, and columns stand below each other', () => {
  const text = tableText([
    ['name', 'state'],
    ['a\nb\tc', 'done'],
    ['\u001b[31mred\u001b[0m', 'failed'],
  ]);
  expect(text).toBe('name   state\na b c  done\nred    failed\n');
});
