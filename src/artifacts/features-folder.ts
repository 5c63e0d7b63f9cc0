import { randomBytes } from 'node:crypto';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { notWritten, syncFolder, toJson, writeFileAtomic } from './atomic.ts';
import { makeFolder } from './make-folder.ts';
import { digest, MANIFEST_NAME } from './manifest.ts';
import { lockPlace } from './run-lock.ts';

const manifestSchema = z.object({
  format: z.literal(1),
  kind: z.literal('features'),
  /** ISO 8601. */
  created: z.string(),
  /** Path in the folder → size in bytes and sha256 in hex. */
  files: z.record(z.string(), z.object({ size: z.int().nonnegative(), sha256: z.string() })),
});

/**
 * Makes a folder of feature pages, whole or not at all: `write` fills a staging folder beside it, which gets a manifest
 * and then the name. An older one of ours is replaced, where nothing else lies in it.
 *
 * @param write fills `data/` and what lies beside it
 * @throws SaeLensError STORAGE when something else is there, somebody is writing there, or the disk refuses
 */
export async function writeFeaturesFolder<T>(output: string, write: (staging: string) => Promise<T>): Promise<T> {
  const folder = resolve(output);
  const staging = `${folder}.partial`;
  try {
    await makeFolder(dirname(folder));
    await requireStaging(staging);
    const lock = await lockPlace(folder, `${folder}.lock.json`, 'write features to');
    try {
      const aside = await restored(folder);
      await requireFeatures(folder);
      await rm(staging, { recursive: true, force: true });
      await makeFolder(join(staging, 'data'));
      const result = await write(staging);
      await writeManifest(staging);
      // Looked at again: collecting takes minutes.
      await requireFeatures(folder);
      const hadOne = (await namesIn(folder)) !== null;
      if (hadOne) await rename(folder, aside);
      await rename(staging, folder);
      await syncFolder(dirname(folder));
      if (hadOne) await rm(aside, { recursive: true, force: true });
      return result;
    } finally {
      await rm(staging, { recursive: true, force: true }).catch(() => {});
      await lock.release();
    }
  } catch (error) {
    if (error instanceof SaeLensError) throw error;
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === 'ENOTDIR' || (code === 'EEXIST' && syscall === 'mkdir')) {
      throw new SaeLensError(
        'STORAGE',
        `Cannot write features to "${output}": a file is there, or is a part of the path`,
        {
          hint: 'choose a folder that is new or empty: --output',
          cause: error,
        },
      );
    }
    throw notWritten(`Cannot write features to "${output}"`, dirname(folder), error as Error);
  }
}

/** Undoes a replacement that a kill cut in half. Gives the name under which the old folder waits for its end. */
async function restored(folder: string): Promise<string> {
  const prefix = `${basename(folder)}.old-`;
  for (const name of await readdir(dirname(folder))) {
    const aside = join(dirname(folder), name);
    if (!name.startsWith(prefix) || !/-[0-9a-f]{8}$/.test(name)) continue;
    // A person's own copy may have such a name; what it holds tells.
    const foreign = await foreignToFeatures(aside);
    if (foreign === null) continue;
    if ((await namesIn(folder)) === null) await rename(aside, folder);
    else if (foreign.length === 0) await rm(aside, { recursive: true, force: true });
  }
  return join(dirname(folder), `${prefix}${randomBytes(4).toString('hex')}`);
}

/** Whether features of ours are there, written to their end. */
export const isFeaturesFolder = async (folder: string): Promise<boolean> => (await manifestOf(folder)) !== null;

/** What lies in a folder of features that its manifest does not name; null where none were written to their end. */
export async function foreignToFeatures(folder: string): Promise<string[] | null> {
  const manifest = await manifestOf(folder);
  if (manifest === null) return null;
  const foreign: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(join(folder, '/').length).replaceAll('\\', '/');
    const isOurs = entry.isFile() ? path === MANIFEST_NAME || path in manifest.files : entry.isDirectory();
    if (!isOurs) foreign.push(path);
  }
  return foreign;
}

async function manifestOf(folder: string): Promise<z.infer<typeof manifestSchema> | null> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(folder, MANIFEST_NAME), 'utf8')));
  } catch {
    return null;
  }
}

async function requireFeatures(folder: string): Promise<void> {
  const foreign = (await foreignToFeatures(folder)) ?? (await namesIn(folder)) ?? [];
  if (foreign.length === 0) return;
  const more = foreign.length > 3 ? ` and ${foreign.length - 3} more` : '';
  throw new SaeLensError(
    'STORAGE',
    `Cannot write features to "${folder}": ${foreign.slice(0, 3).join(', ')}${more} is there, which is nothing of ours`,
    { hint: 'move it away, or choose a folder that is new or empty, or one of features alone: --output' },
  );
}

/** What lies in a staging folder and no collection writes: one that was killed leaves no manifest to tell by. */
export async function foreignToStaging(folder: string): Promise<string[]> {
  const names = (await namesIn(folder)) ?? [];
  return names.filter((one) => !/^(data|neuronpedia|manifest\.json)$|\.(html|js|css)$/.test(one));
}

async function requireStaging(folder: string): Promise<void> {
  const [foreign] = await foreignToStaging(folder);
  if (foreign === undefined) return;
  throw new SaeLensError(
    'STORAGE',
    `Cannot write features by way of "${folder}": ${foreign} is there, which is nothing of ours`,
    { hint: 'move it away, or choose another folder: --output' },
  );
}

/** null where there is no folder. */
async function namesIn(folder: string): Promise<string[] | null> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function writeManifest(folder: string): Promise<void> {
  const files: z.infer<typeof manifestSchema>['files'] = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(folder.length + 1).replaceAll('\\', '/')] = await digest(path);
  }
  const manifest = { format: 1, kind: 'features', created: new Date().toISOString(), files };
  await writeFileAtomic(join(folder, MANIFEST_NAME), toJson(manifest));
}
