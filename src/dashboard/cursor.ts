/** Where a reader of a run's metrics is: so many bytes into that file. */
export interface Cursor {
  readonly id: string;
  readonly generation: number;
  readonly offset: number;
}

/** `id@generation@offset`, with `,` between. */
export const wordsOf = (cursors: Iterable<Cursor>): string =>
  [...cursors].map(({ id, generation, offset }) => `${encodeURIComponent(id)}@${generation}@${offset}`).join(',');

/** What are no such words is left out. */
export function cursorsOf(words: string): Cursor[] {
  return words.split(',').flatMap((word) => {
    const [id = '', generation, offset] = word.split('@');
    const cursor = { id: decoded(id), generation: Number(generation), offset: Number(offset) };
    return Number.isSafeInteger(cursor.generation) && cursor.offset >= 0 && Number.isSafeInteger(cursor.offset)
      ? [cursor]
      : [];
  });
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}
