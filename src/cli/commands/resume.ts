import type { Command } from 'commander';
import { MAX_RESTARTS, restartsOf } from '../restarts.ts';

interface ResumeFlags {
  dashboard?: true;
  from?: string;
  json?: true;
  max_restarts?: number;
  quiet?: true;
  runs_folder: string;
}

export function addResume(program: Command): void {
  program
    .command('resume <run>')
    .summary('go on with a run that was interrupted')
    .description(
      'Go on with a run that was interrupted, from its last whole checkpoint. On a CPU it becomes, bit for bit, the run ' +
        'that it would have been.',
    )
    .option('--from <checkpoint>', 'number of samples or folder of another checkpoint of it')
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--dashboard', 'show it in a browser while it trains')
    .option(...MAX_RESTARTS, restartsOf)
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'events as lines of JSON on stdout')
    .action(async (run: string, flags: ResumeFlags) => {
      const { resumeInTerminal } = await import('../../runners/train-in-terminal.ts');
      await resumeInTerminal(run, {
        json: flags.json ?? false,
        dashboard: flags.dashboard,
        maxRestarts: flags.max_restarts,
        quiet: flags.quiet ?? false,
        runsFolder: flags.runs_folder,
        ...(flags.from === undefined ? {} : { from: flags.from }),
      });
    });
}
