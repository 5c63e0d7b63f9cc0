import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { toJson, writeFileAtomic } from './atomic.ts';

/** Grows when a reader of today could misread a folder of tomorrow. Newer is refused, older is read. */
export const MANIFEST_FORMAT = 1;
export const MANIFEST_NAME = 'manifest.json';

const manifestSchema = z.object({
  format: z.number().int().positive(),
  /** Of `checkpoint_every` there are only so many: the oldest recurring one is removed for a new one. */
  kind: z.enum(['checkpoint', 'recurring', 'output']),
  /** ISO 8601. */
  created: z.string(),
  n_training_samples: z.number().int().nonnegative(),
  /** Name in the folder → size in bytes and sha256 in hex. A name is never a way out of the folder (promise P4). */
  files: z.record(
    z.string().regex(/^[^/\\.][^/\\]*$/),
    z.object({ size: z.number().int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
});

/** The last file of a folder: what it holds and that it is complete. */
export type Manifest = z.infer<typeof manifestSchema>;

/**
 * Hashes every file in `folder` and writes the manifest, which makes the folder exist (design §7). A folder in it that
 * has a manifest of its own speaks for itself.
 */
export async function writeManifest(
  folder: string,
  facts: Pick<Manifest, 'kind' | 'n_training_samples'>,
): Promise<Manifest> {
  const files: Manifest['files'] = {};
  for (const name of await filesIn(folder)) {
    if (name !== MANIFEST_NAME) files[name] = await digest(join(folder, name));
  }
  const manifest: Manifest = { format: MANIFEST_FORMAT, ...facts, created: new Date().toISOString(), files };
  await writeFileAtomic(join(folder, MANIFEST_NAME), toJson(manifest));
  return manifest;
}

/** Reads a manifest without looking at the files. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST_NAME);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw incomplete(folder, `${MANIFEST_NAME} cannot be read: ${(error as Error).message}`, error);
  }
  const format = (value as { format?: unknown } | null)?.format;
  if (typeof format === 'number' && format > MANIFEST_FORMAT) {
    throw new SaeLensError(
      'STORAGE',
      `Cannot read "${folder}": its format is ${format}, this version reads up to ${MANIFEST_FORMAT}`,
      { hint: 'update sae-lens-ts: npm install sae-lens-ts@latest' },
    );
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) throw incomplete(folder, z.prettifyError(parsed.error));
  return parsed.data;
}

/**
 * Checks every byte that the folder's manifest speaks of (promise P1). What else lies there is not its business.
 *
 * @param isMeant the files that are to be read, where that is not all of them
 * @throws SaeLensError SAE_INVALID when the folder is not as it was written
 */
export async function verifyFolder(folder: string, isMeant = (_name: string) => true): Promise<Manifest> {
  const manifest = await readManifest(folder);
  for (const [name, expected] of Object.entries(manifest.files)) {
    if (!isMeant(name)) continue;
    const { size, sha256 } = await digest(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      throw incomplete(folder, error.code === 'ENOENT' ? `${name} is missing` : `${name}: ${error.message}`, error);
    });
    if (size !== expected.size) throw incomplete(folder, `${name} has ${size} bytes instead of ${expected.size}`);
    if (sha256 !== expected.sha256) throw incomplete(folder, `${name} has other content than was written (sha256)`);
  }
  return manifest;
}

function incomplete(folder: string, reason: string, cause?: unknown): SaeLensError {
  return new SaeLensError('SAE_INVALID', `Folder "${folder}" is not what was saved: ${reason}`, {
    cause,
    hint: `copy it again, or use another checkpoint; without ${MANIFEST_NAME} it is read unchecked`,
  });
}

/** Regular files only: a manifest vouches for nothing that lies elsewhere. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => !(entry.isDirectory() && existsSync(join(folder, entry.name, MANIFEST_NAME))))
    .map((entry) => {
      if (!entry.isFile()) throw incomplete(folder, `${entry.name} is not a regular file`);
      return entry.name;
    })
    .sort();
}

export async function digest(path: string): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { size, sha256: hash.digest('hex') };
}
