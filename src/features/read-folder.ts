import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readDataFile } from './data-file.ts';
import type { About, LatentDetail, LatentTable } from './format.ts';
import { chunkName } from './layout.ts';

/** Whether features are there: such a folder gets its name when it is whole. */
export const holdsFeatures = (folder: string): boolean => existsSync(join(folder, 'data', 'about.js'));

/** What a folder of features is about, and the table of its latents. */
export async function readTable(folder: string): Promise<{ readonly about: About; readonly table: LatentTable }> {
  const about = await readDataFile(join(folder, 'data', 'about.js'), 'about');
  return { about, table: await readDataFile(join(folder, 'data', 'latents.js'), 'latents') };
}

/** The latents in these rows of the table, in their order; only the chunks that have them are read. */
export async function readLatents(
  folder: string,
  { latents_per_chunk }: About,
  rows: readonly number[],
): Promise<(readonly [row: number, detail: LatentDetail])[]> {
  const found = new Map<number, LatentDetail>();
  const chunks = new Set(rows.map((row) => Math.floor(row / latents_per_chunk)));
  for (const chunk of chunks) {
    const details = await readDataFile(join(folder, 'data', chunkName(chunk)), 'chunk');
    for (const [i, detail] of details.entries()) found.set(chunk * latents_per_chunk + i, detail);
  }
  return rows.flatMap((row) => {
    const detail = found.get(row);
    return detail === undefined ? [] : [[row, detail] as const];
  });
}
