import { readFileSync } from 'node:fs';
import { errorsPage } from './errors-page.ts';
import { jsonSchemaFile } from './json-schema.ts';
import { optionsPage, optionTable } from './options.ts';
import { cacheActivationsTwin, evalTwin, featuresTwin, pretokenizeTwin, runnerTwin, saeTwin } from './python.ts';
import { saelensPage } from './saelens-page.ts';

/** Every generated file, by its path from the repository root. */
export const GENERATED: Readonly<Record<string, () => string>> = {
  'pyworker/protocol/config.py': runnerTwin,
  'pyworker/protocol/sae_config.py': saeTwin,
  'pyworker/protocol/pretokenize_config.py': pretokenizeTwin,
  'pyworker/protocol/cache_activations_config.py': cacheActivationsTwin,
  'pyworker/protocol/eval_config.py': evalTwin,
  'pyworker/protocol/features_config.py': featuresTwin,
  'src/config/generated/options.ts': optionTable,
  'docs/errors.md': errorsPage,
  'docs/options.md': optionsPage,
  'docs/saelens-options.md': saelensPage,
  'docs/config.schema.json': jsonSchemaFile,
};

/** Paths of generated files that do not hold what the schemas say. */
export function staleFiles(root: string): string[] {
  return Object.entries(GENERATED)
    .filter(([path, render]) => readIfThere(`${root}/${path}`) !== render())
    .map(([path]) => path);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
