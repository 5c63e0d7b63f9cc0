import { type Command, InvalidArgumentError } from 'commander';
import { printNotice, printText } from '../output.ts';

interface DashboardFlags {
  host?: string;
  port?: number;
  strict_port?: true;
  until_stdin_ends?: true;
}

export function addDashboard(program: Command): void {
  const command = program
    .command('dashboard')
    .summary('show all runs in a browser, live')
    .description(
      'Show the runs below a folder in a browser: curves as they come, comparisons, advice, checkpoints, logs.',
    )
    .argument('[runs_folder]', 'folder of all runs, or of one', 'runs')
    .option('--port <port>', 'port to listen on; taken, the next free one (default: 6270)', portOf)
    .option('--strict_port', 'refuse a port that is taken')
    .option('--host <address>', 'address to listen on, for other machines (default: 127.0.0.1)')
    .option('--until_stdin_ends', 'end when the standard input does')
    .action(async (runsFolder: string) => {
      const { host, port, strict_port, until_stdin_ends } = command.opts<DashboardFlags>();
      const { dashboardInTerminal } = await import('../../runners/dashboard.ts');
      if (host !== undefined) printNotice(`${host}: whoever has the address below can read these runs and stop them`);
      const options = { host, port, strictPort: strict_port, untilStdinEnds: until_stdin_ends ?? false };
      await dashboardInTerminal(runsFolder, options, (url) => printText(`dashboard  ${url}\n`));
    });
}

function portOf(word: string): number {
  const port = Number(word);
  if (!/^\d+$/.test(word) || port > 65_535) throw new InvalidArgumentError('a port is a number from 0 to 65535');
  return port;
}
