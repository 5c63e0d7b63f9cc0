import { significant } from '../format.ts';
import { html, Markup } from '../web/markup.ts';
import { type Labelled, placeLabels } from './labels.ts';

/** How good an SAE is against how sparse. */
export interface ParetoPoint {
  readonly name: string;
  readonly l0: number;
  /** Higher is better, 1 is perfect; undefined where it was not computed. */
  readonly explainedVariance: number | undefined;
  readonly ceLossScore: number | undefined;
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BELOW] = [460, 340, 60, 24, 34, 44];
/** So long a name has room on one side of any point. */
const MOST_LETTERS = 26;
const MOST_NAMES = 12;
const PANELS = [
  ['explained variance', 'explainedVariance'],
  ['CE loss score', 'ceLossScore'],
] as const;
const STYLE = `
svg { font: 12px system-ui, sans-serif; color-scheme: light dark; }
text { fill: light-dark(#1f2328, #e6e8eb); } .quiet { fill: light-dark(#565b64, #a4abb6); font-size: 11px; }
.axis { stroke: light-dark(#8b919c, #6b727d); } .front { stroke: light-dark(#0072b2, #56b4e9); stroke-width: 1.5; fill: none; }
circle { fill: light-dark(#ffffff, #14161a); stroke: light-dark(#0072b2, #56b4e9); stroke-width: 2; } .best { fill: light-dark(#0072b2, #56b4e9); }
.name { paint-order: stroke; stroke: light-dark(#ffffff, #14161a); stroke-width: 3px; } .leader { stroke: light-dark(#8b919c, #6b727d); }
`;

interface Place {
  readonly name: string;
  readonly l0: number;
  readonly value: number;
}

/** Those that no other beats in both: nobody is at least as good with as few latents. By L0, upwards. */
export function front(places: readonly Place[]): Place[] {
  const byL0 = places.toSorted((a, b) => a.l0 - b.l0 || b.value - a.value);
  let best = Number.NEGATIVE_INFINITY;
  return byL0.filter(({ value }) => {
    if (value <= best) return false;
    best = value;
    return true;
  });
}

/** SAEs as points of L0 against explained variance and CE score, as one SVG that loads nothing. */
export const paretoPlot = (points: readonly ParetoPoint[]): string =>
  drawing(panelsOf(points), html`<style>${new Markup(STYLE)}</style>`).text;

/** A picture for each of the two, for a page, which has the style. */
export const paretoFigures = (points: readonly ParetoPoint[]): string[] =>
  panelsOf(points).map((one) => drawing([one], '').text);

interface Panel {
  readonly title: string;
  readonly places: readonly Place[];
}

const panelsOf = (points: readonly ParetoPoint[]): Panel[] =>
  PANELS.flatMap(([title, key]) => {
    const places = points.flatMap(({ name, l0, [key]: value }) =>
      value !== undefined && Number.isFinite(value) && l0 > 0 ? [{ name, l0, value }] : [],
    );
    return places.length === 0 ? [] : [{ title, places }];
  });

function drawing(panels: readonly Panel[], style: Markup | ''): Markup {
  const drawn = panels.map(
    ({ title, places }, n) => html`<g transform="translate(${n * WIDTH} 0)">${panel(title, places)}</g>`,
  );
  const width = Math.max(1, panels.length) * WIDTH;
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT}" width="${width}" height="${HEIGHT}" role="img"><title>SAEs: L0 against ${panels.map(({ title }) => title).join(' and ')}</title>${style}${drawn}</svg>\n`;
}

function panel(title: string, places: readonly Place[]): Markup {
  const x = scale(
    places.map(({ l0 }) => Math.log10(l0)),
    LEFT,
    WIDTH - RIGHT,
  );
  const y = scale(
    places.map(({ value }) => value),
    HEIGHT - BELOW,
    TOP,
  );
  const at = ({ l0, value }: Place): [number, number] => [x.of(Math.log10(l0)), y.of(value)];
  const best = front(places);
  // Of many points only the best have their names, of few all that there is room for; each has it as its title.
  const byRank = [...best, ...places.filter((place) => !best.includes(place))];
  const named = byRank.length <= MOST_NAMES ? byRank : best;
  const labelled = byRank.map((place): Labelled => {
    const [cx, cy] = at(place);
    return { x: cx, y: cy, words: named.includes(place) ? label(place.name) : null };
  });
  const labels = placeLabels(labelled, { left: LEFT + 2, right: WIDTH - 4, top: TOP - 8, bottom: HEIGHT - BELOW });
  // The best lie above those that have the same place.
  const dots = byRank.toReversed().map((place) => {
    const [cx, cy] = at(place);
    // Filled or not says the same as the line: nothing is told by colour alone.
    const kind = best.includes(place) ? 'best' : '';
    return html`<circle cx="${tenth(cx)}" cy="${tenth(cy)}" r="4" class="${kind}"><title>${place.name}: L0 ${significant(place.l0)}, ${title} ${significant(place.value)}</title></circle>`;
  });
  const names = labels.flatMap((found, i) => {
    const { x: cx, y: cy, words } = labelled[i] as Labelled;
    if (found === null || words === null) return [];
    const leader = found.isFar
      ? html`<path class="leader" d="M${tenth(cx)} ${tenth(cy)}L${tenth(found.x)} ${tenth(found.y - 4)}"/>`
      : '';
    return [
      html`${leader}<text class="name" x="${tenth(found.x)}" y="${tenth(found.y)}" text-anchor="${found.anchor}">${words}</text>`,
    ];
  });
  const line = html`<polyline class="front" points="${best.map((place) => at(place).map(tenth).join()).join(' ')}"/>`;
  return html`<text x="${LEFT}" y="20">${title}</text>
<path class="axis" fill="none" d="M${LEFT} ${TOP}V${HEIGHT - BELOW}H${WIDTH - RIGHT}"/>${line}${names}${dots}
<text class="quiet" x="${LEFT - 6}" y="${TOP + 4}" text-anchor="end">${significant(y.high)}</text>
<text class="quiet" x="${LEFT - 6}" y="${HEIGHT - BELOW}" text-anchor="end">${significant(y.low)}</text>
<text class="quiet" x="${LEFT}" y="${HEIGHT - BELOW + 18}">${significant(10 ** x.low)}</text>
<text class="quiet" x="${WIDTH - RIGHT}" y="${HEIGHT - BELOW + 18}" text-anchor="end">${significant(10 ** x.high)}</text>
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">L0, latents for each token (logarithmic)</text>`;
}

const tenth = (value: number): string => value.toFixed(1);

/** The end of a long name tells runs apart; the whole of it is the point's title. */
const label = (name: string): string => (name.length > MOST_LETTERS ? `…${name.slice(1 - MOST_LETTERS)}` : name);

/** From the values to the page, with a little room around them. */
function scale(values: readonly number[], from: number, to: number) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least) * 0.08 || 0.05;
  const [low, high] = [least - room, most + room];
  return { low, high, of: (value: number): number => from + ((value - low) / (high - low)) * (to - from) };
}
