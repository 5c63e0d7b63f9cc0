import { significant } from '../../format.ts';

/** Words as people read them, and elements that hold words only: text of a run never becomes markup (faults X8). */

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no #${id}`);
  return found as T;
}

type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function svg(
  tag: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: Node[]
): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A value that may not be there. */
export const shown = (value: number | null | undefined): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : significant(value);

/** As an axis has room for: 1.5G · 20k · 0.003 */
export function axisNumber(value: number): string {
  const [size, unit] = UNITS.find(([size]) => Math.abs(value) >= size) ?? [1, ''];
  return `${shown(value / size)}${unit}`;
}
const UNITS: readonly (readonly [size: number, unit: string])[] = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e4, 'k'],
];
