import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const source = readFileSync('src/dashboard/advice.ts', 'utf8');
const page = readFileSync('docs/metrics.md', 'utf8');

test('the page of metrics has every rule of advice and no other', () => {
  const rules = [...source.matchAll(/^ {2}(\w+)\(.*\) \{$/gm)].map(([, name]) => name);
  expect(rules.length).toBeGreaterThan(8);
  expect([...page.matchAll(/^\| `([a-z0-9_]+)` \| [^|]+ \|$/gm)].map(([, name]) => name)).toEqual(rules);
});

test('it says each number from which on something is said', () => {
  const numbers = [...source.matchAll(/^const [A-Z0-9_]+ = ([\d.]+);$/gm)].map(([, number]) => Number(number));
  expect(numbers.length).toBeGreaterThan(8);
  const isSaid = (number: number): boolean =>
    new RegExp(`\\b${number}\\b`).test(page) || page.includes(`${Math.round(100 * number)} %`);
  expect(numbers.filter((number) => !isSaid(number))).toEqual([]);
});
