import type { Command } from 'commander';
import type { Provenance } from '../../config/layer.ts';
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
