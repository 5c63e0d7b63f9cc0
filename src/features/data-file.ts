import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { aboutSchema, latentDetailSchema, latentTableSchema } from './format.ts';
import { FEATURES_CALL } from './layout.ts';

/** The kinds of files of data, and what each holds. */
export const DATA_KINDS = { about: aboutSchema, latents: latentTableSchema, chunk: latentDetailSchema.array() };

/** A file of data: what a page gets when it runs the script. */
export const dataScript = (kind: keyof typeof DATA_KINDS, value: unknown): string =>
  `globalThis.${FEATURES_CALL}(${JSON.stringify(kind)}, ${JSON.stringify(value)});\n`;

/**
 * The value in a file of data, read without running it.
 *
 * @throws SaeLensError STORAGE when it is not such a file
 */
export async function readDataFile<K extends keyof typeof DATA_KINDS>(
  file: string,
  kind: K,
): Promise<z.infer<(typeof DATA_KINDS)[K]>> {
  const head = `globalThis.${FEATURES_CALL}("${kind}", `;
  try {
    const text = await readFile(file, 'utf8');
    if (!text.startsWith(head) || !text.endsWith(');\n')) throw new Error(`it does not call ${FEATURES_CALL}`);
    return DATA_KINDS[kind].parse(JSON.parse(text.slice(head.length, -3))) as z.infer<(typeof DATA_KINDS)[K]>;
  } catch (error) {
    throw new SaeLensError('STORAGE', `Cannot read "${file}" as ${kind} of features: ${(error as Error).message}`, {
      hint: `make the folder that ${basename(file)} is in anew: sae-lens-ts features`,
      cause: error,
    });
  }
}
