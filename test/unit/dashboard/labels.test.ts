import { expect, test } from 'vitest';
import { type Labelled, placeLabels } from '../../../src/dashboard/labels.ts';

const bounds = { left: 0, right: 400, top: 0, bottom: 300 };
const point = (x: number, y: number, words: string | null = 'a run of ours'): Labelled => ({ x, y, words });

test('words of points that are near each other stand apart, and far ones say that they need a line', () => {
  const points = Array.from({ length: 9 }, (_, i) => point(200 + i, 150 + i));
  const labels = placeLabels(points, bounds);
  expect(labels).not.toContain(null);
  expect(labels.some((label) => label?.isFar)).toBe(true);
  const places = labels.map((label) => `${label?.anchor} ${Math.round((label?.y ?? 0) / 14)}`);
  expect(new Set(places).size).toBe(points.length);
});

test('words stay in the picture, and away from points without words', () => {
  const [label] = placeLabels([point(390, 150), point(360, 150, null)], bounds);
  expect(label).toMatchObject({ anchor: 'end' });
  expect(label?.y).not.toBeCloseTo(154);
});

test('where there is no room left words are left out, the first ones last', () => {
  const labels = placeLabels(
    Array.from({ length: 60 }, () => point(200, 150)),
    bounds,
  );
  expect(labels[0]).not.toBeNull();
  expect(labels.at(-1)).toBeNull();
});
