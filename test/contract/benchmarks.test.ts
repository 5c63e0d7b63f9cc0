import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { benchmarkPage, type Measured } from '../bench/page.ts';

const measured: Measured = JSON.parse(readFileSync('docs/benchmarks.json', 'utf8'));

it('the page of benchmarks shows what was measured, and nothing else', () => {
  expect(readFileSync('docs/benchmarks.md', 'utf8')).toBe(benchmarkPage(measured));
});

it.each([
  ['README.md', 'step --runs 3 --threads 2'],
  ['CHANGELOG.md', 'step --runs 3'],
])('%s says of a step what was measured by %s', (page, words) => {
  const measures = measured.results.find((one) => one.words.join(' ') === words)?.result.measures;
  const seconds = (side: 'ours' | 'saelens'): string =>
    ((measures?.['step, wall']?.[side]?.median ?? NaN) / 1000).toFixed(2);
  const text = readFileSync(page, 'utf8').replaceAll(/\s+/g, ' ');
  expect(text).toMatch(new RegExp(`takes ${seconds('ours')} s .*where SAELens' takes ${seconds('saelens')}`));
  const percent = `in ${Math.round(100 / (measures?.['step, peak']?.ratio ?? NaN))} % of the memory`;
  if (page === 'README.md') expect(text).toContain(percent);
});
