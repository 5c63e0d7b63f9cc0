import { significant } from '../format.ts';
import { html, type Markup } from '../web/markup.ts';
import type { Points } from './series.ts';

/** The size of a plot, and what its numbers take below it. */
export const [WIDTH, HEIGHT, BELOW] = [420, 180, 20];
const LEFT = 56;
/** No line is told by its colour alone. */
const DASHES = ['', '8 4', '2 3', '10 3 2 3', '4 4', '12 4 4 4', '1 5', '14 3'];

/** One SAE's values of a metric; the only SAE has no name. */
export interface Line {
  readonly sae: string;
  readonly points: Points;
}

/**
 * Draws a metric over the steps, with `--stroke` for the lines and `--line` for the axes.
 *
 * @param place further attributes of the svg
 * @returns the picture, and the last value of each line in words
 */
export function drawCurve(title: string, lines: readonly Line[], place = html``): { svg: Markup; now: string } {
  const steps = lines.flatMap(({ points }) => points.steps);
  const values = lines.flatMap(({ points }) => points.values);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (step: number): number => LEFT + ((step - first) / (last - first || 1)) * (WIDTH - LEFT - 4);
  // A line that stays at one value lies in the middle.
  const share = (value: number): number => (high === low ? 0.5 : (value - low) / (high - low));
  const y = (value: number): number => HEIGHT - BELOW - share(value) * (HEIGHT - BELOW - 10);
  const drawn = lines.map(({ points }, i) => {
    const way = points.steps.map((step, n) => `${x(step).toFixed(1)},${y(points.values[n] as number).toFixed(1)}`);
    // Of a single value there is no line.
    const corners = way.length === 1 ? `${way[0]} ${x(first) + 4},${y(points.values[0] as number)}` : way.join(' ');
    const style = html`fill="none" stroke="var(--stroke)" stroke-width="1.5" stroke-dasharray="${DASHES[i % 8] as string}"`;
    return html`<polyline points="${corners}" ${style}/>`;
  });
  const now = lines
    .map(({ sae, points }) => `${sae} ${significant(points.values.at(-1) as number)}`.trim())
    .join(' · ');
  const ends = high === low ? [low] : [high, low];
  const svg = html`<svg ${place} viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: from ${significant(low)} to ${significant(high)}, at the end ${now}">
<path d="M${LEFT} 4V${HEIGHT - BELOW}H${WIDTH}" fill="none" stroke="var(--line)"/>${drawn}
${ends.map((value) => html`<text x="${LEFT - 4}" y="${Math.min(HEIGHT - BELOW, y(value) + 4)}" text-anchor="end">${significant(value)}</text>\n`)}<text x="${LEFT}" y="${HEIGHT - 6}">${first}</text><text x="${WIDTH}" y="${HEIGHT - 6}" text-anchor="end">step ${last}</text>
</svg>`;
  return { svg, now };
}
