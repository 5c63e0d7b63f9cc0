import { existsSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SaeLensError } from '../errors.ts';

/** As many as Linux follows. */
const MOST_LINKS = 40;
/** What says that a folder is a dataset or a cache: nothing else may be put into it. */
const OF_A_DATASET = ['dataset_info.json', 'dataset_dict.json', 'pretokenize.json'];

/**
 * Where a dataset or a cache will really lie: links are followed, also one to what is not there yet. A folder is
 * renamed to its place when it is whole, and no folder can take the place of a link.
 *
 * @param option that names the place
 * @throws SaeLensError STORAGE when links lead in a circle, or the place lies inside another dataset
 */
export function dataPlace(path: string, option: string): string {
  const place = followed(path, option, MOST_LINKS);
  for (let folder = dirname(place); folder !== dirname(folder); folder = dirname(folder)) {
    const found = OF_A_DATASET.find((name) => existsSync(join(folder, name)));
    if (found === undefined) continue;
    throw new SaeLensError('STORAGE', `Cannot write to "${path}": it lies inside the dataset "${folder}" (${found})`, {
      hint: `choose a place beside it: ${option}`,
      details: { path: place, dataset: folder },
    });
  }
  return place;
}

function followed(path: string, option: string, linksLeft: number): string {
  const place = resolve(path);
  if (place === dirname(place)) return place;
  if (linksLeft === 0) {
    throw new SaeLensError('STORAGE', `Cannot write to "${path}": its links lead in a circle`, {
      hint: `choose another place: ${option}`,
      details: { path },
    });
  }
  const folder = followed(dirname(place), option, linksLeft);
  const target = linkTarget(place);
  return target === null ? join(folder, basename(place)) : followed(resolve(folder, target), option, linksLeft - 1);
}

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null; // it is no link, or not there
  }
}
