import { type Command, InvalidArgumentError } from 'commander';
import { bytes, counted } from '../../format.ts';
import { confirmed } from '../confirm.ts';
import { printJson, printNotice, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface PruneFlags {
  dryRun?: true;
  json?: true;
  keep: number;
  runs_folder: string;
  yes?: boolean;
}

export function addPrune(program: Command): void {
  program
    .command('prune [runs...]')
    .summary('remove older checkpoints of runs')
    .description(
      'Remove the checkpoints of runs, of all that are not going on unless some are named, but the newest whole ones.',
    )
    .option('--keep <number>', 'so many stay, at least 2', keepOf, 3)
    .option('--dry-run', 'say what would be removed, and change nothing')
    .option('-y, --yes', 'ask nothing')
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (runs: string[], { dryRun, json, keep, runs_folder, yes = false }: PruneFlags) => {
      const { prunableRuns, pruneRuns } = await import('../../runners/remove-runs.ts');
      const found = await prunableRuns(runs, runs_folder, keep);
      const removed = found.flatMap((run) => run.removed);
      const total = removed.reduce((sum, one) => sum + one.bytes, 0);
      for (const path of found.flatMap(({ passedOver }) => passedOver)) {
        printNotice(`${path} stays: it is damaged, or holds what no run writes`);
      }
      if (!json)
        printText(
          tableText(
            removed.map((one) => [one.path, bytes(one.bytes)]),
            { right: [1] },
          ),
        );
      const isWanted = removed.length > 0 && !dryRun;
      const what = `${counted(removed.length, 'checkpoint')}, ${bytes(total)}`;
      if (isWanted && !(await confirmed(`Remove ${what}?`, yes))) return;
      if (isWanted) await pruneRuns(found);
      if (json) return printJson({ dry_run: dryRun ?? false, runs: found });
      printText(
        isWanted ? `removed ${what}\n` : removed.length === 0 ? 'nothing to remove\n' : `would remove ${what}\n`,
      );
    });
}

function keepOf(word: string): number {
  const keep = Number(word);
  if (!/^\d+$/.test(word) || keep < 2) throw new InvalidArgumentError('at least 2 stay: the newest may be damaged');
  return keep;
}
