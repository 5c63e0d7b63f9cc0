import type { DatasetLook } from '../runners/datasets.ts';

/** A dataset as a person reads it. */
export function lookText({ columns, n_rows, rows, column, decoded, lengths }: DatasetLook): string {
  const width = Math.max(...columns.map(({ name }) => name.length));
  const lines = [
    `rows     ${n_rows === null ? 'not known without reading them' : n_rows}`,
    'columns',
    ...columns.map(({ name, type }) => `  ${name.padEnd(width)}  ${type}`),
  ];
  if (lengths !== null) {
    const { unit, n_sampled, mean, min, max, estimated_total } = lengths;
    lines.push(`lengths  ${column}: ${min} to ${max} ${unit}, ${mean.toFixed(1)} on average (first ${n_sampled} rows)`);
    if (estimated_total !== null) lines.push(`in all   about ${estimated_total} ${unit}`);
    if (unit === 'characters') lines.push('         --tokenizer NAME counts tokens');
  }
  rows.forEach((row, at) => {
    lines.push(`row ${at}`, ...Object.entries(row).map(([name, value]) => `  ${name.padEnd(width)}  ${value}`));
    if (decoded !== null) lines.push(`  ${'as text'.padEnd(width)}  ${decoded[at]}`);
  });
  return `${lines.join('\n')}\n`;
}
