import type { Command } from 'commander';
import { PRETOKENIZE_ROWS } from '../../config/generated/options.ts';
import { resolveRunnerCommandLine } from '../layers.ts';
import { addOptionFlags } from '../option-flags.ts';
import { printJson, printText } from '../output.ts';

interface PretokenizeFlags {
  dryRun?: true;
  json?: true;
  quiet?: true;
}

export function addPretokenize(program: Command): void {
  const command = program
    .command('pretokenize')
    .summary('tokenize a dataset once, so that training need not')
    .description(
      'Tokenize a dataset into sequences of equal length. Interrupted, the same command goes on where it was.',
    )
    .option('--dry-run', 'say what would happen, and start nothing')
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'events as lines of JSON on stdout');
  addOptionFlags(command, PRETOKENIZE_ROWS).action(async (file: string | undefined) => {
    const { dryRun, json = false, quiet = false } = command.opts<PretokenizeFlags>();
    const { config } = await resolveRunnerCommandLine(command, file, 'pretokenize');
    if (!dryRun) {
      const { pretokenizeInTerminal } = await import('../../runners/pretokenize-in-terminal.ts');
      return pretokenizeInTerminal(config, { json, quiet });
    }
    const { previewPretokenize } = await import('../../runners/pretokenize-preview.ts');
    const preview = await previewPretokenize(config);
    if (json) return printJson({ config, ...preview.facts });
    const lines = preview.fields.map(([name, value]) => `${name.padEnd(10)} ${value}\n`);
    printText(`${lines.join('')}Nothing was started. Run without --dry-run to pretokenize\n`);
  });
}
