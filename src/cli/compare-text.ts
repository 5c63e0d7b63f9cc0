import { shortly } from '../config/problem.ts';
import { counted, significant } from '../format.ts';
import type { Differing, RunComparison } from '../runners/compare.ts';
import { tableText } from './table.ts';

/** What two runs differ in, for people. */
export function compareText({ runs, options, provenance, metrics, ...rest }: RunComparison): string {
  const { commonRows, firstDifference, sameWeights } = rest;
  const parts = [
    section('options', runs, options, shortly),
    section('provenance', runs, provenance, shortly),
    section('metrics, the last of each', runs, metrics, significant),
  ];
  const parting =
    firstDifference === null
      ? `no metric differs in the ${counted(commonRows, 'row')} that both have`
      : `their metrics part at training step ${firstDifference.step}, in ${firstDifference.metric}`;
  const weights =
    sameWeights === null ? 'not both are finished' : `their weights are ${sameWeights ? '' : 'not '}the same`;
  return `${parts.join('\n')}\n${parting}; ${weights}\n`;
}

function section<T>(
  title: string,
  runs: readonly [string, string],
  rows: readonly Differing<T>[],
  shown: (value: T) => string,
): string {
  if (rows.length === 0) return `${title}: the same\n`;
  const cell = (value: T | undefined): string => (value === undefined ? '' : shown(value));
  const cells = rows.map(({ name, values: [a, b] }) => [name, cell(a), cell(b)]);
  return `${title}\n${tableText([['', ...runs], ...cells], { indent: '  ' })}`;
}
