import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * Opens a file to read, and only a file: a pipe in its place would be waited for for ever, and a device may have no end.
 * Null for what is none, is not there or may not be read.
 */
export async function openPlainFile(path: string): Promise<FileHandle | null> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(() => null);
  if (file === null) return null;
  const isFile = await file.stat().then(
    (facts) => facts.isFile(),
    () => false,
  );
  if (isFile) return file;
  await file.close();
  return null;
}

/** The text of a file of at most so many bytes; null for a longer one too. */
export async function readPlainFile(path: string, mostBytes: number): Promise<string | null> {
  const file = await openPlainFile(path);
  if (file === null) return null;
  try {
    return (await file.stat()).size > mostBytes ? null : await file.readFile('utf8');
  } catch {
    return null;
  } finally {
    await file.close();
  }
}
