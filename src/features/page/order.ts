import type { LatentTable } from '../format.ts';

export type SortKey = 'density' | 'max_activation' | 'mean_activation' | 'decoder_norm' | 'index';

/** Which latents are listed, and in what order. */
export interface Choice {
  readonly search: string;
  readonly where: 'both' | 'top' | 'positive';
  readonly sort: SortKey;
  readonly smallestFirst: boolean;
  /** Densities that are listed, both ends too. */
  readonly density: readonly [number, number];
}

/** Finds rows of a table: fast enough for every key that is pressed. */
export class LatentOrder {
  readonly #table: LatentTable;
  #order = '';
  #all: readonly number[] = [];
  readonly #words: Record<'top' | 'positive', readonly string[]>;

  constructor(table: LatentTable) {
    this.#table = table;
    // No token has this character as all of it, and nobody types it.
    const joined = (tokens: readonly string[]): string => `\0${tokens.join('\0')}\0`.toLowerCase();
    this.#words = { top: table.top_tokens.map(joined), positive: table.positive_tokens.map(joined) };
  }

  /** Rows of the table. A number finds the latent with it first, then tokens with these digits. */
  rows({ search, where, sort, smallestFirst, density: [low, high] }: Choice): number[] {
    const { index, density } = this.#table;
    const wanted = search.toLowerCase().trimEnd();
    const number = /^#?\d+$/.test(wanted.trim()) ? Number(wanted.trim().replace('#', '')) : -1;
    const { top, positive } = this.#words;
    const rows: number[] = [];
    for (const row of this.#sorted(sort, smallestFirst)) {
      if (index[row] === number) continue;
      const at = density[row] as number;
      if (at < low || at > high) continue;
      const isFound =
        wanted === '' ||
        (where !== 'positive' && (top[row] as string).includes(wanted)) ||
        (where !== 'top' && (positive[row] as string).includes(wanted));
      if (isFound) rows.push(row);
    }
    const found = number < 0 ? -1 : index.indexOf(number);
    return found < 0 ? rows : [found, ...rows];
  }

  /** All rows; kept until another order is wanted, since a search changes with every key. */
  #sorted(sort: SortKey, smallestFirst: boolean): readonly number[] {
    const order = `${sort} ${smallestFirst}`;
    if (this.#order !== order) {
      const values = this.#table[sort];
      const sign = smallestFirst ? 1 : -1;
      const rows = values.map((_, row) => row);
      this.#all = rows.sort((a, b) => sign * ((values[a] as number) - (values[b] as number)) || a - b);
      this.#order = order;
    }
    return this.#all;
  }
}
