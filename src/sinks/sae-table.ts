import { grouped, significant } from '../format.ts';
import { KEYS, Progress } from './progress.ts';
import type { RunEvent } from './sink.ts';

/** The columns of the summary: heading and metric. */
const COLUMNS: readonly [string, string][] = [
  ['loss', KEYS.loss],
  ['EV', KEYS.explainedVariance],
  ['L0', KEYS.l0],
  ['CE score', KEYS.ceLossScore],
];

const deadText = (dead: number | undefined, dSae: number): string =>
  dead === undefined ? '' : `${grouped(dead)} of ${grouped(dSae)}`;

/** Where each of several SAEs stands, a line each. Empty where a run has one. */
export class SaeTable {
  readonly #saes = new Map<string, Progress>();

  get isEmpty(): boolean {
    return this.#saes.size === 0;
  }

  /** `nowS` is monotonic, in seconds. */
  consume(event: RunEvent, nowS: number): void {
    if ((event.kind === 'header' || event.kind === 'started') && event.saes !== undefined) {
      for (const [name, { d_sae }] of Object.entries(event.saes)) this.#of(name).dSae = d_sae ?? 0;
    } else if (event.kind === 'metrics' && event.sae !== undefined) this.#of(event.sae).consume(event, nowS);
  }

  /** Whether all others have had their row of the step when this one has. */
  isLast(name: string): boolean {
    return [...this.#saes.keys()].at(-1) === name;
  }

  /** What the live line says of one SAE, for each. */
  lines(): string[] {
    const width = Math.max(...[...this.#saes.keys()].map((name) => name.length));
    return [...this.#saes].map(([name, progress]) =>
      `  ${name.padEnd(width)}  ${progress.parts('sae').join(' · ')}`.trimEnd(),
    );
  }

  /** A table of the last values, headings first. */
  summary(): string[] {
    const rows = [...this.#saes].map(([name, { last, dSae }]) => [
      name,
      ...COLUMNS.map(([, key]) => (last[key] === undefined ? '' : significant(last[key]))),
      deadText(last[KEYS.dead], dSae),
    ]);
    const table = [['', ...COLUMNS.map(([heading]) => heading), 'dead latents'], ...rows];
    const widths = (table[0] as string[]).map((_, i) => Math.max(...table.map((row) => (row[i] as string).length)));
    return table.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] as number)).join('  ')}`.trimEnd());
  }

  #of(name: string): Progress {
    const known = this.#saes.get(name) ?? new Progress();
    this.#saes.set(name, known);
    return known;
  }
}
