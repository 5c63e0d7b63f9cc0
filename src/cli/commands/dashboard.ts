import type { Command } from 'commander';
import { addListenFlags, type ListenFlags, listenOptions } from '../listen-flags.ts';
import { requireNamedFolder } from '../named-folder.ts';
import { printText } from '../output.ts';

interface DashboardFlags extends ListenFlags {
  until_stdin_ends?: true;
}

export function addDashboard(program: Command): void {
  const command = program
    .command('dashboard')
    .summary('show all runs in a browser, live')
    .description(
      'Show the runs below a folder in a browser: curves as they come, comparisons, advice, checkpoints, logs.',
    )
    .argument('[runs_folder]', 'folder of all runs, or of one', 'runs');
  addListenFlags(command, 6270)
    .option('--until_stdin_ends', 'end when the standard input does')
    .action(async (runsFolder: string) => {
      requireNamedFolder(command.args[0]);
      const { until_stdin_ends, ...flags } = command.opts<DashboardFlags>();
      const { dashboardInTerminal } = await import('../../runners/dashboard.ts');
      const listen = listenOptions(flags, 'read these runs and stop them');
      const options = { ...listen, untilStdinEnds: until_stdin_ends ?? false };
      await dashboardInTerminal(runsFolder, options, (url) => printText(`dashboard  ${url}\n`));
    });
}
