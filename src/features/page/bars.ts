import { grouped } from '../../format.ts';
import { element, shown, svg } from '../../web/page/element.ts';
import type { Histogram } from '../format.ts';

const [WIDTH, HEIGHT, BELOW] = [360, 110, 16];

/** What a histogram is of, for those who cannot see it, and under the pointer. */
export interface Axis {
  readonly title: string;
  /** What is counted: tokens, latents. */
  readonly of: string;
  /** An edge in words. */
  readonly word?: (edge: number) => string;
}

/** Bars of equal width over the edges at both ends. */
export function bars({ edges, counts }: Histogram, { title, of, word = shown }: Axis): SVGElement {
  const most = Math.max(...counts, 1);
  const width = WIDTH / Math.max(1, counts.length);
  const drawn = counts.map((count, i) => {
    // What is there is seen, be it ever so little.
    const height = count === 0 ? 0 : Math.max(1.5, (count / most) * (HEIGHT - BELOW));
    const place = { x: i * width + 0.5, width: Math.max(0.5, width - 1), y: HEIGHT - BELOW - height, height };
    const said = document.createElementNS('http://www.w3.org/2000/svg', 'title');
    said.textContent = `${word(edges[i] as number)} to ${word(edges[i + 1] as number)}: ${grouped(count)} ${of}`;
    return svg('rect', { ...place, class: 'bar', 'data-bin': i }, said);
  });
  const [low, high] = [word(edges[0] ?? 0), word(edges.at(-1) ?? 0)];
  const total = counts.reduce((sum, count) => sum + count, 0);
  const label = `${title}: ${grouped(total)} ${of} from ${low} to ${high}, at most ${grouped(most)} in a bin`;
  return svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label },
    ...drawn,
    svg('path', { d: `M0 ${HEIGHT - BELOW + 0.5}H${WIDTH}`, class: 'axis' }),
    words(0, 'start', low),
    words(WIDTH, 'end', high),
  );
}

function words(x: number, anchor: string, text: string): SVGElement {
  const made = svg('text', { x, y: HEIGHT - 3, 'text-anchor': anchor });
  made.textContent = text;
  return made;
}

/** A histogram with its caption; its highest bar in words. */
export function figure(histogram: Histogram, axis: Axis): HTMLElement {
  const most = grouped(Math.max(...histogram.counts, 0));
  const caption = element('figcaption', {}, axis.title, ' ', element('small', {}, `highest bar ${most} ${axis.of}`));
  return element('figure', {}, caption, bars(histogram, axis));
}

/** A bar of a list: how much `share` is of all. */
export function meter(share: number, kind: 'plus' | 'minus'): HTMLElement {
  const made = element('span', { class: `meter ${kind}`, 'aria-hidden': 'true' });
  made.style.setProperty('--share', `${Math.min(1, Math.max(0, share))}`);
  return made;
}
