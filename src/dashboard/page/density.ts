import { element, shown, svg } from '../../web/page/element.ts';
import type { Histogram } from '../shown.ts';

const [WIDTH, LEFT, BELOW] = [320, 44, 16];
const MOST_HEIGHT = 220;
const [LOWEST_ROW, HIGHEST_ROW] = [4, 16];

/** A row for each time, the darker the more latents have that density. */
export function densityOverTime(histograms: readonly Histogram[]): Node[] {
  const saes = [...new Set(histograms.map(({ sae }) => sae))];
  if (saes.length === 0)
    return [element('p', { class: 'quiet' }, 'none yet: the first comes after feature_sampling_window steps')];
  const words =
    'How often a latent is active, as log10, over the steps; the darker, the more latents. To the left: hardly ever.';
  return [
    ...saes.map((sae) =>
      oneSae(
        sae,
        histograms.filter((one) => one.sae === sae),
      ),
    ),
    element('p', { class: 'quiet' }, words),
  ];
}

function oneSae(sae: string, rows: readonly Histogram[]): Node {
  const low = Math.min(...rows.map(({ edges }) => edges[0] ?? 0));
  const high = Math.max(...rows.map(({ edges }) => edges.at(-1) ?? 0));
  const x = (log10: number): number => LEFT + ((log10 - low) / (high - low || 1)) * (WIDTH - LEFT);
  const height = Math.min(HIGHEST_ROW, Math.max(LOWEST_ROW, MOST_HEIGHT / rows.length));
  const cells = rows.flatMap(({ counts, edges, step }, i) => {
    const most = Math.max(...counts);
    return counts.flatMap((count, bin) => {
      if (count === 0) return [];
      const [from, to] = [edges[bin] as number, edges[bin + 1] as number];
      const place = { x: x(from), width: Math.max(1, x(to) - x(from)), y: i * height, height: height - 0.5 };
      const cell = svg('rect', { ...place, fill: 'currentColor', 'fill-opacity': 0.15 + (0.85 * count) / most });
      const title = svg('title', {});
      title.textContent = `step ${step}: ${count} latents from ${shown(from)} to ${shown(to)}`;
      cell.append(title);
      return [cell];
    });
  });
  const [first, last] = [rows[0] as Histogram, rows.at(-1) as Histogram];
  const tall = rows.length * height;
  const word = (at: number, down: number, text: string, anchor: string): SVGElement => {
    const made = svg('text', { x: at, y: down, 'text-anchor': anchor });
    made.textContent = text;
    return made;
  };
  const tens = Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
  const ticks = tens.filter((ten) => ten % Math.ceil(tens.length / 8) === 0);
  const axis = [
    word(LEFT - 4, 10, `${first.step}`, 'end'),
    ...(rows.length > 1 && tall > 24 ? [word(LEFT - 4, tall - 1, `${last.step}`, 'end')] : []),
    ...ticks.map((ten) =>
      word(x(ten), tall + 12, `${ten}`, ten === tens[0] ? 'start' : ten === tens.at(-1) ? 'end' : 'middle'),
    ),
  ];
  const label = `Density of the latents, log10 from ${shown(low)} to ${shown(high)}, step ${first.step} above to ${last.step} below`;
  const place = { viewBox: `0 0 ${WIDTH} ${tall + BELOW}`, role: 'img', 'aria-label': label };
  const picture = svg('svg', place, ...cells, ...axis) as Node;
  return element('div', {}, ...(sae === '' ? [] : [sae]), picture);
}
