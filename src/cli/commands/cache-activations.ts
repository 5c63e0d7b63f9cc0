import type { Command } from 'commander';
import { CACHE_ACTIVATIONS_ROWS } from '../../config/generated/options.ts';
import { resolveRunnerCommandLine } from '../layers.ts';
import { addOptionFlags } from '../option-flags.ts';
import { printJson, printText } from '../output.ts';

interface CacheActivationsFlags {
  dryRun?: true;
  json?: true;
  quiet?: true;
}

export function addCacheActivations(program: Command): void {
  const command = program
    .command('cache-activations')
    .summary('compute activations once and keep them on disk')
    .description('Compute the activations of a language model once and keep them on disk, to train from.')
    .option('--dry-run', 'say what would be written and what is there, and start nothing')
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'events as lines of JSON on stdout');
  addOptionFlags(command, CACHE_ACTIVATIONS_ROWS).action(async (file: string | undefined) => {
    const flags = command.opts<CacheActivationsFlags>();
    const { config } = await resolveRunnerCommandLine(command, file, 'cache-activations');
    if (flags.dryRun) return dryRun(config, flags);
    const { cacheInTerminal } = await import('../../runners/cache-in-terminal.ts');
    await cacheInTerminal(config, { json: flags.json ?? false, quiet: flags.quiet ?? false });
  });
}

type Config = import('../../config/index.ts').RunnerOptions['cache-activations'];

async function dryRun(config: Config, { json }: CacheActivationsFlags): Promise<void> {
  const { previewCache, previewText } = await import('../../runners/cache-preview.ts');
  const preview = await previewCache(config);
  if (json) return printJson({ config, ...preview });
  printText(`${previewText(config, preview)}\nNothing was started. Run without --dry-run to write it\n`);
}
