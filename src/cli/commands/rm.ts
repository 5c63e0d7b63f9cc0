import type { Command } from 'commander';
import { bytes, counted } from '../../format.ts';
import { confirmed } from '../confirm.ts';
import { printJson, printNotice, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface RmFlags {
  json?: true;
  runs_folder: string;
  yes?: boolean;
}

export function addRm(program: Command): void {
  program
    .command('rm <runs...>')
    .summary('remove runs')
    .description('Remove runs with all they hold. One that is going on, or that holds what no run writes, is refused.')
    .option('-y, --yes', 'ask nothing')
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (runs: string[], { json, runs_folder, yes = false }: RmFlags) => {
      const { removableRuns, removeRuns } = await import('../../runners/remove-runs.ts');
      const found = await removableRuns(runs, runs_folder);
      for (const place of found.flatMap(({ elsewhere }) => elsewhere)) printNotice(`${place} stays where it is`);
      const total = found.reduce((sum, run) => sum + run.bytes, 0);
      if (!json)
        printText(
          tableText(
            found.map((run) => [run.folder, bytes(run.bytes)]),
            { right: [1] },
          ),
        );
      if (!(await confirmed(`Remove ${counted(found.length, 'run')}, ${bytes(total)}?`, yes))) return;
      await removeRuns(found);
      if (json) return printJson({ removed: found });
      printText(`removed ${counted(found.length, 'run')}, ${bytes(total)}\n`);
    });
}
