import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type LocateOptions, locateSae } from '../artifacts/published-sae.ts';
import {
  fileLayer,
  fromLayer,
  type LanguageModelSAERunnerConfig,
  type LanguageModelSAERunnerOptions,
  type Layer,
  type NamedSAEConfig,
  resolveConfig,
} from '../config/index.ts';
import { SaeLensError } from '../errors.ts';

/** What tells how an SAE was trained, the most telling first. */
const CONFIGS = ['runner_cfg.json', 'config.yaml', 'cfg.json'];

/** Options of a run, those of its SAE too, all optional. */
export type ConfigChanges = Partial<Omit<LanguageModelSAERunnerOptions, 'sae'>> & {
  sae?: { [Key in string]?: unknown };
  saes?: Readonly<Record<string, NamedSAEConfig>>;
};

/** What the files of an SAE or a run tell of how it was trained, as they stand; undefined where they tell nothing. */
export function recordedConfig(path: string): unknown {
  const file = recordOf(path);
  return file === undefined ? undefined : fileLayer(file).value;
}

function recordOf(path: string): string | undefined {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  return (isFile ? [path] : CONFIGS.map((name) => join(path, name))).find((one) => existsSync(one));
}

/**
 * The settings of a finished run as a layer: of a file, a run or SAE folder, `hub:user/repo/folder@revision`, or
 * `release/id`. From the hub come only the files that tell of it, not the weights.
 *
 * @throws SaeLensError USAGE when nothing there tells how it was trained, CONFIG_INVALID for a broken file, and what
 * the hub refuses
 */
export async function readFromLayer(reference: string, options: LocateOptions = {}): Promise<Layer> {
  const { path } = await locateSae(reference, { ...options, describedOnly: true });
  const file = recordOf(path);
  if (file === undefined) {
    throw new SaeLensError('USAGE', `Cannot start from "${reference}": nothing there tells how it was trained`, {
      hint: `looked for ${CONFIGS.join(', ')}; other libraries do not write what this one could take`,
    });
  }
  const { value } = fileLayer(file);
  const names = Object.keys((value as { saes?: object }).saes ?? {});
  if (names.length > 0) {
    throw new SaeLensError(
      'USAGE',
      `Cannot start from "${reference}": it is a run of several SAEs, ${names.join(', ')}`,
      {
        hint: `name one, by its folder: ${join(path === file ? dirname(path) : path, 'output', names[0] as string)}`,
      },
    );
  }
  return fromLayer(reference, value);
}

/**
 * A configuration that starts from that of a finished run: its settings of training, changed by yours.
 *
 * @param reference a file, a run or SAE folder, `hub:user/repo/folder@revision`, or `release/id`
 * @param notice is told what was left out
 * @throws SaeLensError CONFIG_INVALID with all problems at once, USAGE, RELEASE_NOT_FOUND, HUB…
 *
 * @example
 * const cfg = await configFrom('hub:user/repo/blocks.0.hook_resid_post', { lr: 1e-4, dataset_path: 'my/text' });
 */
export async function configFrom(
  reference: string,
  changes: ConfigChanges = {},
  {
    notice = (line: string) => process.emitWarning(line),
    ...options
  }: LocateOptions & { notice?: (line: string) => void } = {},
): Promise<LanguageModelSAERunnerConfig> {
  const layers: Layer[] = [
    await readFromLayer(reference, options),
    { kind: 'object', source: 'the changes', value: changes },
  ];
  const { config, notices } = resolveConfig(layers);
  notices.forEach(notice);
  return config;
}
