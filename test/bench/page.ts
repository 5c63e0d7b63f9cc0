import { type Result, resultTable } from './result.ts';

/** What was measured in one go, on one machine. */
export interface Measured {
  date: string;
  processor: string;
  cores: number;
  node: string;
  /** `npm run bench --` with these words gave it. */
  results: { words: string[]; result: Result }[];
}

/** docs/benchmarks.md, from docs/benchmarks.json. */
export function benchmarkPage({ date, processor, cores, node, results }: Measured): string {
  const lines = [
    '# Benchmarks',
    '',
    `Measured on ${date}: ${processor}, ${cores} cores, no GPU, Node ${node}, torch ${torchOf(results)}; against SAELens 6.54.12 and, where the`,
    'table says so, eai-sparsify 1.3.3 and dictionary-learning 0.1.0, with the same torch. Nothing was measured on a GPU. Both sides do the same work in turn; a figure is the median of all runs and their range. `cpu` counts seconds of the',
    'processor, which other work on the machine disturbs less than the clock. A ratio is how many times as fast ours is, or how many times less memory',
    'it takes. `npm run bench -- record` measures all of it anew and writes this page; each table says its own command.',
  ];
  for (const { words, result } of results) {
    const [title = '', ...table] = resultTable(result);
    lines.push(
      '',
      `## ${title}`,
      '',
      '<!-- run: no, takes minutes; what it prints is below -->',
      '',
      `    npm run bench -- ${words.join(' ')}`,
      ...table,
    );
  }
  return `${lines.join('\n')}\n`;
}

const torchOf = (results: Measured['results']): string =>
  results.map(({ result }) => result.torch).find((torch) => torch !== undefined) ?? '?';
