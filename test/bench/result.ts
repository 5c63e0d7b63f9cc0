/** A benchmark as a table, ours beside another trainer's where there is one. */

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
  /** CPU of our step as a multiple of the CPU of the bare encoder product in float32. */
  over_product?: number;
  measures: Record<string, { unit: string; ours: Side; ratio?: number } & Partial<Record<keyof typeof PEERS, Side>>>;
}

/** A heading that says under what circumstances, then a row for each measure, then what the product alone takes. */
export function resultTable({ shape, load, threads = 1, measures, over_product }: Result): string[] {
  const [first] = Object.values(measures);
  const peer = (Object.keys(PEERS) as (keyof typeof PEERS)[]).find((name) => first !== undefined && name in first);
  const loads = load.map(([minute]) => (minute as number).toFixed(1)).join(' to ');
  return [
    `${shape}; ${threads} thread${threads === 1 ? '' : 's'}, load ${loads}`,
    '',
    `| measure | unit | ours |${peer === undefined ? '' : ` ${PEERS[peer]} | ratio |`}`,
    `| --- | --- | --- |${peer === undefined ? '' : ' --- | --- |'}`,
    ...Object.entries(measures).map(
      ([name, row]) =>
        `| ${name} | ${row.unit} | ${side(row.ours)} |${peer === undefined ? '' : ` ${side(row[peer] as Side)} | ${row.ratio} |`}`,
    ),
    ...(over_product === undefined
      ? []
      : ['', `Our step takes ${over_product} times the CPU of the encoder's product alone, in float32.`]),
  ];
}

function side({ median, range }: Side): string {
  const short = (value: number) => Number(value.toPrecision(4)).toLocaleString('en').replaceAll(',', ' ');
  return `${short(median)} (${range.map(short).join('–')})`;
}
