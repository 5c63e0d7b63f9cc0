import { expect, it } from 'vitest';
import { front, type ParetoPoint, paretoPlot } from '../../../src/dashboard/pareto.ts';

const point = (name: string, l0: number, explainedVariance?: number, ceLossScore?: number): ParetoPoint => ({
  name,
  l0,
  explainedVariance,
  ceLossScore,
});

it('the front holds those that no other beats in both', () => {
  const places = [
    { name: 'wide', l0: 64, value: 0.9 },
    { name: 'beaten', l0: 40, value: 0.7 },
    { name: 'sparse', l0: 8, value: 0.6 },
    { name: 'alike', l0: 64, value: 0.9 },
    { name: 'middle', l0: 32, value: 0.8 },
  ];
  expect(front(places).map(({ name }) => name)).toEqual(['sparse', 'middle', 'wide']);
});

it('draws a point with its name for each SAE and metric that there is, the front filled and joined', () => {
  const svg = paretoPlot([point('k16', 16, 0.8, 0.9), point('k32', 32, 0.85, 0.88), point('dead', 0, 0, 0)]);
  expect(svg.match(/<circle /g)).toHaveLength(4);
  expect(svg.match(/class="best"/g)).toHaveLength(3);
  expect(svg).toContain('<title>k32: L0 32, CE loss score 0.88</title>');
  expect(svg).not.toMatch(/NaN|undefined|dead/);
  expect(paretoPlot([point('only', 16, 0.8)]).match(/<circle /g)).toHaveLength(1);
});

it('names are words, whatever they hold, and nothing is loaded', () => {
  const svg = paretoPlot([point('<script>alert(1)</script>', 4, 0.5, 0.5)]);
  expect(svg).not.toContain('<script');
  expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|href|url\(/);
});
