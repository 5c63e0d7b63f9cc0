import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SaeLensError } from '../errors.ts';

/**
 * The folder that holds `pyworker/` and `requirements.txt`: the checkout, or the installed npm package. It is looked
 * for upwards, because sources and bundle lie at different depths.
 */
export function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'pyworker')) && existsSync(join(folder, 'requirements.txt'))) return folder;
    if (folder === dirname(folder)) {
      throw new SaeLensError('BUG', `No folder with pyworker/ and requirements.txt above ${import.meta.url}`);
    }
  }
}
