import { plainText } from '../plain-text.ts';

/** How a table is laid out. */
interface Layout {
  /** Before every row. */
  readonly indent?: string;
  /** Columns whose cells end at one edge, as numbers do. */
  readonly right?: readonly number[];
}

/**
 * Rows of cells as lines, each column as wide as its widest cell; a row may have fewer cells than others. Whatever a cell
 * holds, a folder's name for one, it stays in its line and its column.
 */
export function tableText(cells: readonly (readonly string[])[], { indent = '', right = [] }: Layout = {}): string {
  const rows = cells.map((row) => row.map((cell) => plainText(cell).replace(/[\t\n]+/g, ' ')));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return right.includes(column) ? cell.padStart(width) : cell.padEnd(width);
    });
    return `${indent}${cells.join('  ')}`.trimEnd();
  });
  return lines.map((line) => `${line}\n`).join('');
}
