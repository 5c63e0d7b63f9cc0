import { existsSync } from 'node:fs';
import { SaeLensError } from '../errors.ts';

/**
 * A folder of runs that somebody named is there: a name with a typing error would look like a folder without runs. The
 * usual one may be missing, before the first run.
 *
 * @param named the argument as it was given
 * @throws SaeLensError USAGE
 */
export function requireNamedFolder(named: string | undefined): void {
  if (named === undefined || existsSync(named)) return;
  throw new SaeLensError('USAGE', `There is no folder ${named}`, {
    hint: 'Runs lie below `runs` in the folder in which `sae-lens-ts train` was called.',
  });
}
