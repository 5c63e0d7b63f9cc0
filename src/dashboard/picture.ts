import { html, Markup } from '../web/markup.ts';
import { drawCurve, HEIGHT, WIDTH } from './curve.ts';
import type { MetricRows } from './metric-rows.ts';

/** What tells whether a run goes well. */
const CURVES: readonly (readonly [key: string, title: string])[] = [
  ['losses/overall_loss', 'Loss'],
  ['metrics/l0', 'L0'],
  ['metrics/explained_variance', 'Explained variance'],
  ['sparsity/dead_features', 'Dead latents'],
];
const MOST_STRETCHES = 512;
const [COLUMNS, TITLE, GAP] = [2, 20, 10];
const STYLE = ':root { --stroke: #0072b2; --line: #d5d8de; } text { font: 11px sans-serif; fill: #565b64; }';

/** The curves of a run as one SVG that needs nothing around it; a metric of which there is no row yet is left out. */
export function curvesPicture(rows: MetricRows): string {
  const plots = CURVES.flatMap(([key, title]) => {
    const lines = [...rows.bySae].flatMap(([sae, own]) => {
      const points = own.get(key)?.points(undefined, undefined, MOST_STRETCHES);
      return points === undefined ? [] : [{ sae, points }];
    });
    return lines.length === 0 ? [] : [{ title, lines }];
  });
  const drawn = plots.map(({ title, lines }, i) => {
    const [x, y] = [(i % COLUMNS) * (WIDTH + GAP), Math.floor(i / COLUMNS) * (HEIGHT + TITLE + GAP)];
    const place = html`x="${x}" y="${y + TITLE}" width="${WIDTH}" height="${HEIGHT}"`;
    const { svg, now } = drawCurve(title, lines, place);
    return html`<text x="${x + 4}" y="${y + 14}" font-weight="bold">${title} ${now}</text>${svg}`;
  });
  const empty = html`<text x="4" y="14">no numbers yet</text>`;
  const width = COLUMNS * WIDTH + GAP;
  const height = Math.max(1, Math.ceil(plots.length / COLUMNS)) * (HEIGHT + TITLE + GAP);
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}">
<style>${new Markup(STYLE)}</style><rect width="${width}" height="${height}" fill="white"/>
${drawn.length === 0 ? empty : drawn}
</svg>`.text;
}
