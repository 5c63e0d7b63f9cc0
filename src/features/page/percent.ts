import { shown } from '../../web/page/element.ts';

/** A share: 12.5 % · 0.031 % · never */
export function percent(share: number): string {
  if (share === 0) return 'never';
  const value = 100 * share;
  return `${value < 0.001 ? value.toExponential(1) : shown(Number(value.toPrecision(3)))} %`;
}

/** With spaces between thousands. */
export const counted = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f');
