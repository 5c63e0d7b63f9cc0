import type { Command } from 'commander';
import {
  CACHE_ACTIVATIONS_ROWS,
  EVAL_ROWS,
  FEATURES_ROWS,
  OPTION_ROWS,
  PRETOKENIZE_ROWS,
} from '../config/generated/options.ts';
import type { Layer } from '../config/layer.ts';
import type { OptionRow } from '../config/option-row.ts';
import type { Resolution } from '../config/resolve.ts';
import type { OptionsResolution, RunnerKind } from '../config/resolve-options.ts';
import { SaeLensError } from '../errors.ts';
import { fromText } from './from-text.ts';
import { flagsLayer } from './option-flags.ts';
import { printNotice, printText } from './output.ts';

const ROWS: Readonly<Record<RunnerKind, readonly OptionRow[]>> = {
  pretokenize: PRETOKENIZE_ROWS,
  'cache-activations': CACHE_ACTIVATIONS_ROWS,
  eval: EVAL_ROWS,
  features: FEATURES_ROWS,
};

/**
 * The training configuration a command line asks for: preset < run to start from < file < environment < flags.
 *
 * @throws SaeLensError `USAGE` when two files are given, `CONFIG_INVALID` with all problems at once, and what the hub
 * refuses.
 */
export async function resolveCommandLine(command: Command, file: string | undefined): Promise<Resolution> {
  const { preset, from, registry } = command.opts<{ preset?: string; from?: string; registry?: string }>();
  const path = configFile(command, file);
  const { differencesOf, environmentLayer, fileLayer, presetLayer, resolveConfig } = await import('../config/index.ts');
  const presets = preset === undefined ? [] : [presetLayer(preset)];
  const begun = from === undefined ? [] : [await fromLayerOf(from, registry)];
  const environment = environmentLayer(process.env);
  const resolution = resolveConfig([
    ...presets,
    ...begun,
    ...(path === undefined ? [] : [fileLayer(path)]),
    ...(environment === undefined ? [] : [environment]),
    flagsLayer(command, OPTION_ROWS),
  ]);
  for (const layer of begun) {
    printText(fromText(layer.source, differencesOf(resolution, layer, presets)), process.stderr);
  }
  resolution.notices.forEach(printNotice);
  return resolution;
}

/**
 * The options of another runner that a command line asks for: file < environment < flags.
 *
 * @throws SaeLensError `USAGE` when two files are given, `CONFIG_INVALID` with all problems at once.
 */
export async function resolveRunnerCommandLine<K extends RunnerKind>(
  command: Command,
  file: string | undefined,
  kind: K,
): Promise<OptionsResolution<K>> {
  const path = configFile(command, file);
  const { environmentLayer, fileLayer, resolveOptions } = await import('../config/index.ts');
  const environment = environmentLayer(process.env, ROWS[kind]);
  return resolveOptions(kind, [
    ...(path === undefined ? [] : [fileLayer(path)]),
    ...(environment === undefined ? [] : [environment]),
    flagsLayer(command, ROWS[kind]),
  ]);
}

async function fromLayerOf(reference: string, registry: string | undefined): Promise<Layer> {
  const { readFromLayer } = await import('../runners/config-from.ts');
  return readFromLayer(reference, { registry });
}

function configFile(command: Command, file: string | undefined): string | undefined {
  const { config } = command.opts<{ config?: string }>();
  if (file === undefined || config === undefined) return file ?? config;
  throw new SaeLensError('USAGE', `Two configurations are given: ${file} and --config ${config}`, {
    hint: 'give one of them',
  });
}
