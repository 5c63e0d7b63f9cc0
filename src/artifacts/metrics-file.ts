import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';

/**
 * Keeps the rows of an earlier run of this name under another name, so that two runs are never mixed in one file.
 *
 * @param path of a file whose lines begin with their step
 * @returns where they are now, null when there are none
 */
export async function setRowsAside(path: string): Promise<string | null> {
  const aside = await nameAside(path);
  if (aside !== null) await rename(path, aside);
  return aside;
}

/**
 * Leaves the rows of the steps before `step`, as the file was when the checkpoint there was written. Those behind it,
 * which a resumed run writes again, and a line that was cut off, are kept under another name.
 *
 * @param path as for `setRowsAside`
 * @returns where they are now, null when there are none
 */
export async function cutRows(path: string, step: number): Promise<string | null> {
  const aside = await nameAside(path);
  if (aside === null) return null;
  const kept = await bytesBefore(path, step);
  if (kept === (await stat(path)).size) return null;
  await pipeline(createReadStream(path, { start: kept }), createWriteStream(aside, { flush: true }));
  const file = await open(path, 'r+');
  try {
    await file.truncate(kept);
    await file.sync();
  } finally {
    await file.close();
  }
  return aside;
}

async function nameAside(path: string): Promise<string | null> {
  const { mtime } = (await stat(path).catch(() => null)) ?? {};
  if (mtime === undefined) return null;
  const kind = extname(path);
  return `${path.slice(0, -kind.length)}-until-${mtime.toISOString().replace(/[:.]/g, '-')}${kind}`;
}

/** Rows are in the order of their steps; the sink writes the step first. */
async function bytesBefore(path: string, step: number): Promise<number> {
  const { size } = await stat(path);
  const input = createReadStream(path);
  let bytes = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    const [, of] = /^\{"step":(\d+)[,}].*\}$/.exec(line) ?? [];
    const end = bytes + Buffer.byteLength(line) + 1;
    if (of === undefined || Number(of) >= step || end > size) break;
    bytes = end;
  }
  input.destroy();
  return bytes;
}
