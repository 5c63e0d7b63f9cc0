import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { benchmarkPage } from '../bench/page.ts';

it('the page of benchmarks shows what was measured, and nothing else', () => {
  const measured = JSON.parse(readFileSync('docs/benchmarks.json', 'utf8'));
  expect(readFileSync('docs/benchmarks.md', 'utf8')).toBe(benchmarkPage(measured));
});
