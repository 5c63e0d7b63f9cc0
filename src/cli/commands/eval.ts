import type { Command } from 'commander';
import { EVAL_ROWS } from '../../config/generated/options.ts';
import { resolveRunnerCommandLine } from '../layers.ts';
import { addFlags } from '../option-flags.ts';
import { printJson, printText } from '../output.ts';

interface EvalFlags {
  output?: string;
  plot?: string;
  registry?: string;
  json?: true;
  quiet?: true;
}

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .summary('evaluate SAEs in their language model')
    .description('Evaluate SAEs in the language model they were made for, by the metrics of SAELens.')
    .argument('<paths...>', 'run folders, SAE folders, hub:user/repo/folder, or release/id')
    .option('--output <path>', "write SAEBench's core JSON: a file, or for several SAEs a folder")
    .option('--plot <file>', 'draw L0 against explained variance and CE score, as SVG')
    .option('--registry <file>', 'releases of your own, beside the well-known ones')
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'one JSON document on stdout');
  addFlags(command, EVAL_ROWS).action(async (paths: string[]) => {
    const { output, plot, registry, json, quiet } = command.opts<EvalFlags>();
    const { config } = await resolveRunnerCommandLine(command, undefined, 'eval');
    const { evalsInTerminal } = await import('../../runners/evals-in-terminal.ts');
    const results = await evalsInTerminal(paths, config, { output, plot, registry, quiet: quiet ?? false });
    const { evalText } = await import('../eval-text.ts');
    if (!json) return printText(evalText(results));
    printJson({ interval: INTERVAL, results: results.map(({ featurewise, ...result }) => result) });
  });
}

/** How the intervals of the results are made. */
const INTERVAL = { level: 0.95, method: 'jackknife over batches, Student t' };
