import { distance } from 'fastest-levenshtein';

/** The candidate a misspelled word most likely meant, or undefined when nothing is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const fold = (text: string) => text.toLowerCase().replaceAll('-', '_');
  const folded = fold(word);
  const limit = Math.max(2, Math.floor(folded.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const candidateDistance = distance(folded, fold(candidate));
    if (candidateDistance < bestDistance) [best, bestDistance] = [candidate, candidateDistance];
  }
  return best;
}
