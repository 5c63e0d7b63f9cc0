/** A benchmark as a table, ours beside SAELens'. */

interface Side {
  median: number;
  range: [number, number];
}

/** What a program of test/bench prints. */
export interface Result {
  shape: string;
  load: [number[], number[]];
  threads?: number;
  torch?: string;
  measures: Record<string, { unit: string; ours: Side; saelens: Side; ratio: number }>;
}

/** A heading that says under what circumstances, then a row for each measure. */
export function resultTable({ shape, load, threads = 1, measures }: Result): string[] {
  const loads = load.map(([minute]) => (minute as number).toFixed(1)).join(' to ');
  return [
    `${shape}; ${threads} thread${threads === 1 ? '' : 's'}, load ${loads}`,
    '',
    '| measure | unit | ours | SAELens | ratio |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(measures).map(
      ([name, { unit, ours, saelens, ratio }]) => `| ${name} | ${unit} | ${side(ours)} | ${side(saelens)} | ${ratio} |`,
    ),
  ];
}

function side({ median, range }: Side): string {
  const short = (value: number) => Number(value.toPrecision(4)).toLocaleString('en').replaceAll(',', ' ');
  return `${short(median)} (${range.map(short).join('–')})`;
}
