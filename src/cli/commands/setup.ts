import { type Command, Option } from 'commander';
import { printJson } from '../output.ts';

export function addSetup(program: Command): void {
  const command = program
    .command('setup')
    .summary('prepare this machine')
    .description('Make the managed Python environment that training runs in. Does nothing where it is ready.')
    .addOption(new Option('--torch <build>', 'build of torch').choices(['auto', 'cpu', 'cuda']).default('auto'))
    .option('--force', 'build the environment anew')
    .option('--bundled', 'fetch the bundled model and text too')
    .option('--quiet', 'say nothing when nothing has to be done')
    .option('--json', 'one JSON document on stdout')
    .action(async () => {
      const { json, ...options } = command.opts<{
        torch: 'auto' | 'cpu' | 'cuda';
        force?: true;
        bundled?: true;
        quiet?: true;
        json?: true;
      }>();
      const { setup } = await import('../../runners/setup.ts');
      const result = await setup(options);
      if (json) printJson(result);
    });
}
