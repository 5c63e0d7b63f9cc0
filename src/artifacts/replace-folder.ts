import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { syncFolder } from './atomic.ts';
import { MANIFEST_NAME } from './manifest.ts';
import { isSae, SAE_FILES, STATE_FILES, saesIn } from './sae-folder.ts';

/** Everything that we write into a folder of an SAE. */
const OURS: readonly string[] = [...SAE_FILES, ...STATE_FILES, MANIFEST_NAME];

/** How many foreign files an error names. */
const NAMED = 3;

/**
 * Puts a complete staging folder in the place of `final`. What was there before is set aside first and removed last,
 * so that a kill between any two steps leaves either the old or the new folder, at worst under the name that
 * `restoreReplaced` knows. Both must be on the same file system.
 *
 * @throws SaeLensError STORAGE when somebody else's files are there
 */
export async function replaceFolder(staging: string, final: string): Promise<void> {
  await mkdir(dirname(final), { recursive: true });
  await restoreReplaced(final);
  await requireReplaceable(final);
  const aside = `${final}.old-${randomBytes(4).toString('hex')}`;
  const replaced = await rename(final, aside).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  try {
    await rename(staging, final);
  } catch (error) {
    if (replaced) await rename(aside, final);
    throw error;
  }
  await syncFolder(dirname(final));
  if (replaced) await rm(aside, { recursive: true, force: true });
}

/** Undoes a replacement that a kill cut in half: brings the set-aside folder back, or removes it when the new one is there. */
export async function restoreReplaced(final: string): Promise<void> {
  const parent = dirname(final);
  const names = await readdir(parent).catch(() => [] as string[]);
  let present = names.includes(basename(final));
  for (const name of names) {
    const aside = join(parent, name);
    const isAside = name.startsWith(`${basename(final)}.old-`) && /-[0-9a-f]{8}$/.test(name);
    // A person's own copy may have such a name; what it holds tells.
    if (!isAside || (await foreignFiles(aside)).length > 0) continue;
    if (present) await rm(aside, { recursive: true, force: true });
    else await rename(aside, final);
    present = true;
  }
}

/**
 * An SAE takes the place of an older SAE as a whole, and of nothing else.
 *
 * @throws SaeLensError STORAGE when the folder holds what nobody could bring back
 */
export async function requireReplaceable(folder: string, option = '--output_path'): Promise<void> {
  let problem: string | null = null;
  try {
    const names = await readdir(folder);
    const foreign = await foreignFiles(folder);
    const more = foreign.length > NAMED ? ` and ${foreign.length - NAMED} more` : '';
    if (foreign.length > 0) problem = `it holds ${foreign.slice(0, NAMED).join(', ')}${more}`;
    else if (names.length > 0 && !isSae(names) && !(await isOfSeveral(folder, names))) {
      problem = `it holds ${names.join(', ')} and is no SAE`;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') problem = code === 'ENOTDIR' ? 'it is a file' : message;
  }
  if (problem === null) return;
  throw new SaeLensError('STORAGE', `Cannot save an SAE as "${folder}", which would be replaced: ${problem}`, {
    hint: `choose a new folder, an empty one, or one that holds an SAE and nothing else: ${option}`,
  });
}

/** Whether there are SAEs in it and, beside what we write there, nothing else. */
async function isOfSeveral(folder: string, names: readonly string[]): Promise<boolean> {
  const others = names.filter((name) => !OURS.includes(name));
  return others.length > 0 && (await saesIn(folder)).length === others.length;
}

/** What is in the folder, or in those of several SAEs in it, besides files that we write there, finished or not. */
export async function foreignFiles(folder: string): Promise<string[]> {
  const isForeign = (name: string) => !OURS.includes(name) && !name.startsWith(`${MANIFEST_NAME}.tmp-`);
  const foreign: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) foreign.push(...[entry.name].filter(isForeign));
    else {
      const inside = (await readdir(join(folder, entry.name))).filter(isForeign);
      foreign.push(...inside.map((name) => `${entry.name}/${name}`));
    }
  }
  return foreign;
}
