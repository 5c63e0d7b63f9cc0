import { distance } from 'fastest-levenshtein';

/** The candidate that a misspelled or shortened word most likely meant, or undefined when nothing is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const fold = (text: string) => text.toLowerCase().replaceAll('-', '_');
  const folded = fold(word);
  const limit = Math.max(2, Math.floor(folded.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  const all = [...candidates];
  // `model`, `l1`, `dead`: the first words of a longer name, which by its letters is far.
  const longer = all.find((candidate) => fold(candidate).startsWith(`${folded}_`));
  if (longer !== undefined) return longer;
  for (const candidate of all) {
    const candidateDistance = distance(folded, fold(candidate));
    if (candidateDistance < bestDistance) [best, bestDistance] = [candidate, candidateDistance];
  }
  return best;
}

/** All names, the one with the fewest letters to change first. */
export function byNearness(word: string, names: readonly string[]): string[] {
  const folded = word.toLowerCase();
  const far = new Map(names.map((name) => [name, distance(folded, name.toLowerCase())]));
  return names.toSorted((a, b) => (far.get(a) as number) - (far.get(b) as number));
}
