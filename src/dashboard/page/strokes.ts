import { svg } from '../../web/page/element.ts';
import { isDark } from '../../web/page/theme.ts';

/** Okabe and Ito's colours, which people who see few colours tell apart, on light and on dark. */
const COLOURS = {
  light: ['#0072b2', '#b34700', '#00795a', '#a3467d', '#6b5900', '#333333', '#2f6fb0', '#8c2d04'],
  dark: ['#56b4e9', '#e69f00', '#35c295', '#e39bc6', '#f0e442', '#e8eaed', '#8ab4f8', '#ff9d6b'],
} as const;
/** No line is told by its colour alone. */
const DASHES: readonly number[][] = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4, 4, 4], [1, 5], [14, 3]];

/** Up to eight lines share neither colour nor dashes; more of them never both. */
export const colourOf = (slot: number): string =>
  COLOURS[isDark() ? 'dark' : 'light'][(slot + Math.floor(slot / 8)) % 8] as string;
export const dashOf = (slot: number): number[] => DASHES[slot % 8] as number[];

/** A stroke as the chart draws it. */
export function swatch(slot: number): SVGElement {
  const stroke = { stroke: colourOf(slot), 'stroke-width': 2, 'stroke-dasharray': dashOf(slot).join(' ') };
  const line = svg('line', { x1: 0, x2: 28, y1: 6, y2: 6, ...stroke });
  return svg('svg', { width: 28, height: 12, 'aria-hidden': 'true' }, line);
}

/** The strokes of the lines that are shown: an SAE of a run keeps its own while it is. */
export class Strokes {
  readonly #slots = new Map<string, Map<string, number>>();

  of(id: string, sae: string): number {
    const own = this.#slots.get(id) ?? new Map<string, number>();
    this.#slots.set(id, own);
    const taken = new Set([...this.#slots.values()].flatMap((slots) => [...slots.values()]));
    let free = 0;
    while (taken.has(free)) free++;
    const slot = own.get(sae) ?? free;
    own.set(sae, slot);
    return slot;
  }

  /** Those of a run, as far as they were drawn. */
  ofRun = (id: string): number[] => [...(this.#slots.get(id)?.values() ?? [])];

  free(id: string): void {
    this.#slots.delete(id);
  }
}
