import type { Command } from 'commander';
import { printJson, printText } from '../output.ts';
import { viewText } from '../runs-text.ts';

interface ShowFlags {
  json?: true;
  runs_folder: string;
}

export function addShow(program: Command): void {
  program
    .command('show <run>')
    .summary('tell what is known of a run')
    .description(
      'Tell what is known of a run: state, metrics, checkpoints, what it failed with, provenance, what to do next.',
    )
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (run: string, { json, runs_folder }: ShowFlags) => {
      const { showRun } = await import('../../runners/runs.ts');
      const view = await showRun(run, runs_folder);
      if (json) return printJson(view);
      printText(viewText(view));
    });
}
