import type { Command } from 'commander';
import { resolveCommandLine } from '../layers.ts';
import { addTrainingFlags } from '../option-flags.ts';
import { printJson, printNotice, printText } from '../output.ts';
import { planText } from '../plan-text.ts';
import { MAX_RESTARTS, restartsOf } from '../restarts.ts';

interface TrainFlags {
  dashboard?: true;
  dryRun?: true;
  json?: true;
  max_restarts?: number;
  quiet?: true;
  name?: string;
  runs_folder: string;
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .summary('train a sparse autoencoder')
    .description('Train a sparse autoencoder on the activations of a language model.')
    .option('--dry-run', 'say what would happen, and start nothing')
    .option('--dashboard', 'show it in a browser while it trains')
    .option('--name <name>', 'name of the run and its folder')
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option(...MAX_RESTARTS, restartsOf)
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'events as lines of JSON on stdout');
  addTrainingFlags(command).action(async (file: string | undefined) => {
    const flags = command.opts<TrainFlags>();
    const resolution = await resolveCommandLine(command, file);
    if (!flags.quiet) await noteOfPreparedDataset(resolution.config);
    if (flags.dryRun) return dryRun(resolution.config, flags);
    const { trainInTerminal } = await import('../../runners/train-in-terminal.ts');
    await trainInTerminal(resolution, {
      json: flags.json ?? false,
      quiet: flags.quiet ?? false,
      dashboard: flags.dashboard ?? false,
      maxRestarts: flags.max_restarts,
      name: flags.name,
      runsFolder: flags.runs_folder,
      command: process.argv.slice(2),
    });
  });
}

/** Tokenizing is work that somebody may have done already. */
async function noteOfPreparedDataset(config: import('../../config/resolved.ts').ResolvedConfig): Promise<void> {
  const { preparedDatasetNote } = await import('../../runners/prepared-datasets.ts');
  const note = preparedDatasetNote(config);
  if (note !== null) printNotice(note);
}

async function dryRun(config: import('../../config/resolved.ts').ResolvedConfig, flags: TrainFlags): Promise<void> {
  const { previewTraining } = await import('../../runners/training-preview.ts');
  const preview = previewTraining(config, flags.runs_folder, flags.name);
  if (flags.json) {
    const { name, paths, plan, wandb } = preview;
    return printJson({ name, folder: paths.folder, output: paths.output, wandb, config, plan });
  }
  printText(`${planText(config, preview)}\nNothing was started. Run without --dry-run to train\n`);
}
