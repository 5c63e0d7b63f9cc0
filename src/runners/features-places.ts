import { join } from 'node:path';
import { isRunFolder } from '../artifacts/run-folder.ts';
import { SaeLensError } from '../errors.ts';
import type { EvalSubject } from './eval-subjects.ts';

/** An SAE, and where its features go. */
export interface FeaturesPlace<S extends Pick<EvalSubject, 'name'> = EvalSubject> {
  readonly subject: S;
  readonly folder: string;
}

/**
 * Where the features of the SAEs that a path means go: of several, each in a folder of its own below the place of all.
 *
 * @param sae of several the one of this name; without it all
 * @throws SaeLensError USAGE when none has the name
 */
export function featuresPlaces<S extends Pick<EvalSubject, 'name'>>(
  path: string,
  subjects: readonly S[],
  { output, sae }: { readonly output?: string | undefined; readonly sae?: string | undefined },
): FeaturesPlace<S>[] {
  const words = folderWords(subjects.map(({ name }) => name));
  const isOne = subjects.length === 1;
  const usual = isOne ? `features-${words[0]}` : 'features';
  const place = output ?? (isRunFolder(path) ? join(path, 'features') : usual);
  const places = subjects.map((subject, n) => ({ subject, folder: isOne ? place : join(place, words[n] as string) }));
  if (sae === undefined) return places;
  const named = places.filter(({ subject: { name } }) => name === sae || lastName(name) === sae);
  if (named.length > 0) return named;
  throw new SaeLensError('USAGE', `"${path}" has no SAE "${sae}"`, { hint: `it has ${chosenBy(subjects)}` });
}

/** How one of several SAEs is chosen: `--sae a, --sae b`. */
export const chosenBy = (subjects: readonly Pick<EvalSubject, 'name'>[]): string =>
  subjects.map(({ name }) => `--sae ${lastName(name)}`).join(', ');

const lastName = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

/** For each name one for a folder: no two alike, also where case tells nothing, and none that leads elsewhere. */
function folderWords(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const plain = name.replaceAll(/[^\w.+-]+/g, '_').replace(/^\.+/, '_') || '_';
    let word = plain;
    for (let n = 2; taken.has(word.toLowerCase()); n++) word = `${plain}-${n}`;
    taken.add(word.toLowerCase());
    return word;
  });
}
