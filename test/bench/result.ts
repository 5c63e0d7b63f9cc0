/** A benchmark as a table, ours beside another trainer's. */

const PEERS = { saelens: 'SAELens', sparsify: 'sparsify', dictionary_learning: 'dictionary_learning' } as const;

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
  measures: Record<string, { unit: string; ours: Side; ratio: number } & Partial<Record<keyof typeof PEERS, Side>>>;
}

/** A heading that says under what circumstances, then a row for each measure. */
export function resultTable({ shape, load, threads = 1, measures }: Result): string[] {
  const [first] = Object.values(measures);
  const peer = (Object.keys(PEERS) as (keyof typeof PEERS)[]).find((name) => first !== undefined && name in first);
  if (peer === undefined) throw new Error('nothing was measured beside ours');
  const loads = load.map(([minute]) => (minute as number).toFixed(1)).join(' to ');
  return [
    `${shape}; ${threads} thread${threads === 1 ? '' : 's'}, load ${loads}`,
    '',
    `| measure | unit | ours | ${PEERS[peer]} | ratio |`,
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(measures).map(
      ([name, row]) => `| ${name} | ${row.unit} | ${side(row.ours)} | ${side(row[peer] as Side)} | ${row.ratio} |`,
    ),
  ];
}

function side({ median, range }: Side): string {
  const short = (value: number) => Number(value.toPrecision(4)).toLocaleString('en').replaceAll(',', ' ');
  return `${short(median)} (${range.map(short).join('–')})`;
}
