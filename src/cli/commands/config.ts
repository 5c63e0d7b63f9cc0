import type { Command } from 'commander';
import { CACHE_ACTIVATIONS_ROWS, EVAL_ROWS, OPTION_ROWS, PRETOKENIZE_ROWS } from '../../config/generated/options.ts';
import type { Provenance } from '../../config/layer.ts';
import { nearest } from '../../config/nearest.ts';
import type { OptionRow } from '../../config/option-row.ts';
import { SaeLensError } from '../../errors.ts';
import { resolveCommandLine } from '../layers.ts';
import { addTrainingFlags } from '../option-flags.ts';
import { printJson, printText } from '../output.ts';

export function addConfig(program: Command): void {
  const config = program
    .command('config')
    .summary('look at options and configurations')
    .description('Look at options and configurations.');
  const print = config
    .command('print')
    .description('Print every option with its final value and the layer that set it.')
    .option('--json', 'one JSON document on stdout');
  addTrainingFlags(print).action(async (file: string | undefined) => {
    const { config: resolved, provenance } = await resolveCommandLine(print, file);
    if (print.opts<{ json?: true }>().json) {
      return printJson({ config: resolved, provenance: Object.fromEntries(provenance) });
    }
    printText(configText(resolved, provenance));
  });
  config
    .command('schema')
    .description('Print the JSON Schema of a configuration file, for editors.')
    .action(async () => {
      const { jsonSchemaFile } = await import('../../config/generate/json-schema.ts');
      printText(jsonSchemaFile());
    });
  const explain = config
    .command('explain')
    .description('Say what an option does.')
    .argument('<key>', 'an option, for example sae.k')
    .option('--json', 'one JSON document on stdout')
    .action((key: string) => explainOption(key, explain.opts<{ json?: true }>().json ?? false));
}

/** YAML that `train` reads, with the layer of each value behind it. */
function configText(config: object, provenance: ReadonlyMap<string, Provenance>): string {
  const lines: string[] = [];
  const add = (path: string, key: string, value: unknown, indent: string) => {
    const { layer, source, where } = provenance.get(path) as Provenance;
    const from = layer === 'default' ? (source ? `default of ${source}` : 'default') : `${layer} ${where ?? source}`;
    lines.push(`${indent}${key}: ${JSON.stringify(value)}`.padEnd(56).concat(`  # ${from}`));
  };
  const addGroup = (path: string, key: string, options: object, indent: string) => {
    lines.push(`${indent}${key}:`);
    for (const [inner, value] of Object.entries(options)) add(`${path}.${inner}`, inner, value, `${indent}  `);
  };
  for (const [key, value] of Object.entries(config)) {
    if (key === 'saes') lines.push('saes:');
    else if (key === 'sae' || key === 'logger') addGroup(key, key, value, '');
    else add(key, key, value, '');
    if (key !== 'saes') continue;
    for (const [name, sae] of Object.entries(value as object)) addGroup(`saes.${name}`, name, sae, '  ');
  }
  return `${lines.join('\n')}\n`;
}

/** The commands that have options, those of training first: where names are the same, its words are shown. */
const COMMANDS: readonly (readonly [string, readonly OptionRow[]])[] = [
  ['train', OPTION_ROWS],
  ['cache-activations', CACHE_ACTIVATIONS_ROWS],
  ['pretokenize', PRETOKENIZE_ROWS],
  ['eval', EVAL_ROWS],
];

function explainOption(key: string, json: boolean): void {
  const name = key.replaceAll('-', '_');
  const found = COMMANDS.flatMap(([command, rows]) => {
    const row = rows.find(({ path, flags }) => path === name || flags.includes(name));
    return row === undefined ? [] : [{ command, row }];
  });
  const [first] = found;
  if (first === undefined) {
    const names = COMMANDS.flatMap(([, rows]) => rows.flatMap(({ flags }) => flags));
    const close = nearest(name, names);
    const hint = close ? `did you mean ${close}?` : 'list the options with `sae-lens-ts train --help`';
    throw new SaeLensError('USAGE', `There is no option ${JSON.stringify(key)}`, { hint });
  }
  const { row } = first;
  if (json) {
    printJson(row);
    return;
  }
  const lines: [string, string][] = [
    ['effect', row.description],
    ['value', row.choices?.join(' | ') ?? row.types.join(' | ').replaceAll('list:', 'list of ')],
    ['default', row.default],
    ['unit', row.unit ?? ''],
    ['only with', row.architectures ? `architecture ${row.architectures.join(', ')}` : ''],
    ['command', found.map(({ command }) => command).join(', ')],
    ['flags', row.flags.map((flag) => `--${flag}`).join(', ')],
    ['variable', `SAE_LENS_TS_${(row.flags[0] as string).replaceAll('.', '__').toUpperCase()}`],
  ];
  const text = lines.filter(([, value]) => value !== '').map(([title, value]) => `  ${title.padEnd(10)} ${value}`);
  printText(`${row.path}\n${text.join('\n')}\n`);
}
