import type { Command } from 'commander';

export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .summary('check this machine')
    .description('Look at everything training needs and say what to do about what is missing.')
    .option('--online', 'ask the Hugging Face hub too')
    .option('--json', 'one JSON document on stdout')
    .action(async () => {
      const { runDoctor } = await import('../../runners/doctor.ts');
      process.exitCode = await runDoctor(command.opts<{ json?: true; online?: true }>());
    });
}
