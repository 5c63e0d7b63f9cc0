import { existsSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { makeFolder, makeNewFolder } from './make-folder.ts';
import { makePlaces, notWritable, type RunPaths, type RunPlaces, runPaths } from './run-folder.ts';
import { lockRun, type RunLock } from './run-lock.ts';

/** The places of a run, made and held for this process. */
export interface RunClaim {
  readonly name: string;
  readonly paths: RunPaths;
  /** Of the lock on them. */
  readonly id: string;
  /** What was found dead and taken over, for a notice. */
  readonly tookOver: RunLock['tookOver'];
  /** Lets go of the places; a folder that was made for this run and is still empty goes too. */
  release(): Promise<void>;
}

/** The first name, of this one and this one with a number behind it, that no run has here. */
export function freeRunName(places: RunPlaces): string {
  for (let n = 1; ; n++) {
    const name = numbered(places.name, n);
    if (!isTaken(runPaths({ ...places, name }))) return name;
  }
}

/**
 * Takes the places of a run. A name that was `generated` gives way to the next free one, whoever else starts at this
 * moment: making the folder decides. A name that somebody chose is taken again when its run is over, else refused.
 *
 * @throws SaeLensError STORAGE naming the option of the place, or who has it
 */
export async function claimRun(places: RunPlaces, generated: boolean): Promise<RunClaim> {
  if (!generated) {
    const paths = runPaths(places);
    await makePlaces(paths);
    const lock = await lockRun(paths);
    return { ...lock, name: places.name, paths, release: () => lock.release().then(() => removeUnused(paths)) };
  }
  for (let n = 1; ; n++) {
    const name = numbered(places.name, n);
    const paths = runPaths({ ...places, name });
    if (isTaken(paths) || !(await makeRunFolder(paths))) continue;
    const removeEmpty = async () => {
      await removeUnused(paths);
      await rmdir(paths.folder).catch(() => {});
    };
    try {
      await makePlaces(paths);
      const { id, tookOver, release } = await lockRun(paths);
      return { name, paths, id, tookOver, release: () => release().then(removeEmpty) };
    } catch (error) {
      await removeEmpty();
      const isHeld =
        error instanceof SaeLensError && [paths.checkpoints, paths.rescue].includes(error.details.place as string);
      if (!isHeld) throw error;
    }
  }
}

async function makeRunFolder({ folder }: RunPaths): Promise<boolean> {
  try {
    await makeFolder(dirname(folder));
    return await makeNewFolder(folder);
  } catch (error) {
    throw notWritable(folder, '--runs_folder', error as Error);
  }
}

/** Checkpoints may lie elsewhere, where a run of another folder of runs has this name. */
const isTaken = ({ folder, checkpoints, rescue }: RunPaths): boolean =>
  [folder, checkpoints, ...(rescue === null ? [] : [rescue])].some((place) => existsSync(place));

/** Nothing had to be brought to safety. */
async function removeUnused({ rescue }: RunPaths): Promise<void> {
  if (rescue !== null) await rmdir(rescue).catch(() => {});
}

const numbered = (name: string, n: number): string => (n === 1 ? name : `${name}-${n}`);
