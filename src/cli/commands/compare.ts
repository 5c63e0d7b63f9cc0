import type { Command } from 'commander';
import { compareText } from '../compare-text.ts';
import { printJson, printText } from '../output.ts';

interface CompareFlags {
  json?: true;
  runs_folder: string;
}

export function addCompare(program: Command): void {
  program
    .command('compare <run> <other>')
    .summary('show what two runs differ in')
    .description(
      'Show what two runs differ in: options, versions, machine and data, metrics, and where their metrics part.',
    )
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (run: string, other: string, { json, runs_folder }: CompareFlags) => {
      const { compareRuns } = await import('../../runners/compare.ts');
      const comparison = await compareRuns([run, other], runs_folder);
      if (json) return printJson(comparison);
      printText(compareText(comparison));
    });
}
