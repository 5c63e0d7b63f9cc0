import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** How many faults of each kind there are; a new one is a deliberate edit here. */
const ROWS = { W: 13, L: 10, C: 10, T: 6, S: 9, H: 8, X: 12, D: 7 };
const IDS = Object.entries(ROWS).flatMap(([kind, count]) => Array.from({ length: count }, (_, i) => `${kind}${i + 1}`));
/** A row that no test can show, or none shows yet, says so with its reason. */
const NOT_HERE = /^not (here|yet): .{20}/;

const rows = [...readFileSync('docs/faults.md', 'utf8').matchAll(/^\| ([A-Z]\d+) \| (.+?) \| (.+) \|$/gm)].map(
  ([, id, , shown]) => ({ id: id as string, shown: shown as string }),
);

test('every fault has its row, in order', () => {
  expect(rows.map(({ id }) => id)).toEqual(IDS);
});

test.each(rows)('$id is shown by tests that exist, or says why it cannot be', ({ shown }) => {
  if (NOT_HERE.test(shown)) return;
  for (const entry of shown.split('<br>')) {
    const [, path = '', title = ''] = /^`(test\/[^:]+): (.+)`$/.exec(entry) ?? [];
    expect(existsSync(path), `${entry} names a file of tests`).toBe(true);
    expect(titlesIn(path), path).toContain(title);
  }
});

/** Titles as they are written: the words in quotes of `it`, `test` and `describe`, the names of Python's test functions. */
function titlesIn(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  if (path.endsWith('.py')) return [...text.matchAll(/^def (test_\w+)\(/gm)].map(([, name]) => name as string);
  return [...text.matchAll(/\(\s*(['"`])(.+?)\1,/g)].map(([, , title]) => title as string);
}
