import type { Difference } from '../config/from-differences.ts';
import { shortly } from '../config/problem.ts';
import { tableText } from './table.ts';

const HEAD = ['option', 'taken', 'instead of', 'changed to'] as const;

/** What a run to start from brings, as a table: only what differs from the defaults or the preset. */
export function fromText(reference: string, differences: readonly Difference[]): string {
  if (differences.length === 0) return `from ${reference}: the same as without it\n`;
  const rows = differences.map(({ option, theirs, instead, overruled }) => [
    option,
    shortly(theirs),
    instead,
    overruled === null ? '' : `${shortly(overruled.value)}  (${overruled.by})`,
  ]);
  const shown = rows.some((row) => row[3] !== '') ? 4 : 3;
  const table = [[...HEAD], ...rows].map((row) => row.slice(0, shown));
  const count = `${differences.length} ${differences.length === 1 ? 'setting that differs' : 'settings that differ'}`;
  return `from ${reference}: ${count}\n${tableText(table, { indent: '  ' })}`;
}
