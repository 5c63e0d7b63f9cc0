import type { Command } from 'commander';
import type { Resolution } from '../config/resolve.ts';
import { SaeLensError } from '../errors.ts';
import { flagsLayer } from './option-flags.ts';

/**
 * The configuration a command line asks for: preset < file < environment < flags.
 *
 * @throws SaeLensError `USAGE` when two files are given, `CONFIG_INVALID` with all problems at once.
 */
export async function resolveCommandLine(command: Command, file: string | undefined): Promise<Resolution> {
  const { config, preset } = command.opts<{ config?: string; preset?: string }>();
  if (file !== undefined && config !== undefined) {
    throw new SaeLensError('USAGE', `Two configurations are given: ${file} and --config ${config}`, {
      hint: 'give one of them',
    });
  }
  const { environmentLayer, fileLayer, presetLayer, resolveConfig } = await import('../config/index.ts');
  const path = file ?? config;
  const environment = environmentLayer(process.env);
  return resolveConfig([
    ...(preset === undefined ? [] : [presetLayer(preset)]),
    ...(path === undefined ? [] : [fileLayer(path)]),
    ...(environment === undefined ? [] : [environment]),
    flagsLayer(command),
  ]);
}
