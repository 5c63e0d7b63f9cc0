import { Argument, type Command } from 'commander';
import { printText } from '../output.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .summary('print what makes a shell complete commands, flags, values, presets, runs')
    .description('Print a script that makes a shell complete commands, flags, values, presets, runs and hook names.')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action(async (shell: Shell) => {
      const { SCRIPTS } = await import('../completion-scripts.ts');
      printText(SCRIPTS[shell]);
    });
  program
    .command('complete', { hidden: true })
    .description('What may stand for the last word: a line each, with its meaning behind a tab. The scripts call it.')
    .argument('[words...]', 'the words so far, behind --')
    .action(async (words: string[]) => {
      const { completions } = await import('../completion.ts');
      const lines = completions(program, words).map(({ value, meaning }) => `${value}\t${meaning}\n`);
      printText(lines.join(''));
    });
}
