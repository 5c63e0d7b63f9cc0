import type { Command } from 'commander';
import { requireNamedFolder } from '../named-folder.ts';
import { printJson, printText } from '../output.ts';
import { listText } from '../runs-text.ts';

export function addLs(program: Command): void {
  const command = program
    .command('ls')
    .summary('list runs')
    .description('List the runs below a folder, the newest first: what was trained, how far, how well, how large.')
    .argument('[runs_folder]', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (runsFolder: string) => {
      requireNamedFolder(command.args[0]);
      const { listRuns } = await import('../../runners/runs.ts');
      const runs = await listRuns(runsFolder);
      if (command.opts<{ json?: true }>().json) return printJson(runs);
      printText(runs.length === 0 ? `No runs in ${runsFolder}\n` : listText(runs));
    });
}
