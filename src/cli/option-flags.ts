import { type Command, Option } from 'commander';
import { OPTION_ROWS } from '../config/generated/options.ts';
import type { Layer } from '../config/layer.ts';
import type { OptionRow } from '../config/option-row.ts';
import { PRESETS } from '../config/presets/index.ts';
import { put } from '../config/put.ts';
import { readText } from '../config/text.ts';

/** Give a command a flag for every option of training, and those that choose the layers below. */
export function addTrainingFlags(command: Command): Command {
  command
    .option('--preset <name>', `start from a preset: ${Object.keys(PRESETS).join(', ')}`)
    .option('--from <run>', 'start from the settings of a run: a file or folder, hub:user/repo/folder, release/id')
    .option('--registry <file>', 'releases of your own that --from may name');
  return addOptionFlags(command, OPTION_ROWS);
}

/** Give a command a flag for every option, and the file they may come from as its argument. */
export function addOptionFlags(command: Command, rows: readonly OptionRow[]): Command {
  command.argument('[file]', 'configuration, YAML or JSON');
  return addFlags(command, rows, 'the same as the argument');
}

/** Give a command a flag for every option, and for the file they may come from. */
export function addFlags(command: Command, rows: readonly OptionRow[], file = 'options, YAML or JSON'): Command {
  command.option('--config <file>', file);
  for (const row of rows) {
    const option = new Option(`--${row.flags[0]} <${placeholder(row)}>`, description(row)).helpGroup(`${row.group}:`);
    // The names have dots and underscores; commander would make other names of them.
    option.attributeName = () => row.path;
    command.addOption(option);
  }
  return command;
}

function placeholder({ choices, types }: OptionRow): string {
  const words: Record<string, string> = { boolean: 'true|false', object: 'json', string: 'text' };
  if (choices) return 'choice';
  const type = types.find((one) => one !== 'null') ?? 'value';
  return type.startsWith('list:') ? 'list' : (words[type] ?? type);
}

/** What `--help` says of an option: effect, where it exists, what it may be, default and unit. */
export function description(row: OptionRow): string {
  const only = row.architectures ? ` (${row.architectures.join(', ')})` : '';
  const choices = row.choices ? `${row.choices.join(' | ')}; ` : '';
  return `${row.description}${only} [${choices}${row.unit ? `${row.unit}; ` : ''}default: ${row.default}]`;
}

/** The options given as flags, as a layer. */
export function flagsLayer(command: Command, rows: readonly OptionRow[]): Layer {
  const value: Record<string, unknown> = {};
  const flags = new Map<string, string>();
  for (const row of rows) {
    const text = command.getOptionValue(row.path) as string | undefined;
    if (text === undefined) continue;
    put(value, row.path.split('.'), readText(row, text));
    flags.set(row.path, `--${row.flags[0]}`);
  }
  return {
    kind: 'flags',
    source: 'the command line',
    value,
    // A group given whole, as JSON, is written where its flag is.
    at: (path) => flags.get(path.join('.')) ?? flags.get(path[0] ?? ''),
  };
}
