import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where everything is kept that can be made again: managed environments and bundled assets. `SAE_LENS_TS_HOME` moves
 * it, else the XDG cache folder.
 */
export function cacheHome(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.SAE_LENS_TS_HOME || env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sae-lens-ts');
}
