import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { FEATURES_ROWS } from '../../config/generated/options.ts';
import { grouped } from '../../format.ts';
import type { CollectedFeatures } from '../../runners/features.ts';
import { shellWord } from '../../runners/shell-word.ts';
import { resolveRunnerCommandLine } from '../layers.ts';
import { addListenFlags, type ListenFlags, listenOptions, requireNoListenFlags } from '../listen-flags.ts';
import { addFlags } from '../option-flags.ts';
import { printJson, printText } from '../output.ts';

interface FeaturesFlags extends ListenFlags {
  serve?: true;
  output?: string;
  sae?: string;
  export?: 'neuronpedia';
  registry?: string;
  json?: true;
  quiet?: true;
}

export function addFeatures(program: Command): void {
  const command = program
    .command('features')
    .summary('show what each latent of an SAE does')
    .description('Collect density, examples, effect on the logits and neighbours of each latent, as pages.')
    .argument('<path>', 'run folder, SAE folder, hub:user/repo/folder, or release/id')
    .option('--output <folder>', 'where the pages go (default: features in the run, or features-NAME here)')
    .option('--sae <name>', 'of several SAEs this one (default: all)')
    .addOption(new Option('--export <format>', 'write the files of another viewer too').choices(['neuronpedia']))
    .addOption(new Option('--serve', 'show the pages in a browser, with a box for prompts').conflicts('json'))
    .option('--registry <file>', 'releases of your own, beside the well-known ones')
    .option('--quiet', 'warnings and errors only')
    .option('--json', 'one JSON document on stdout');
  addFlags(addListenFlags(command, 6271), FEATURES_ROWS).action(async (path: string) => {
    const { output, sae, export: format, registry, json, quiet, serve, ...listen } = command.opts<FeaturesFlags>();
    const { config } = await resolveRunnerCommandLine(command, undefined, 'features');
    const said = ['sae-lens-ts', ...process.argv.slice(2)].map(shellWord).join(' ');
    const given = { output, sae, export: format, registry, command: said, quiet: quiet ?? false };
    if (serve) {
      const { serveFeaturesInTerminal } = await import('../../runners/serve-features.ts');
      const places = listenOptions(listen, 'see these pages and have prompts read');
      return serveFeaturesInTerminal(path, config, { ...given, ...places }, (made, url) => {
        for (const one of made) printText(summaryOf(one));
        printText(`features  ${url}\n`);
      });
    }
    requireNoListenFlags(listen);
    const { featuresInTerminal } = await import('../../runners/features-in-terminal.ts');
    const made = await featuresInTerminal(path, config, given);
    if (json) return printJson({ features: made });
    for (const one of made) printText(summaryOf(one));
  });
}

function summaryOf({ folder, about }: CollectedFeatures): string {
  const { name, n_latents, n_dead, n_tokens, dataset_path, no_logits } = about;
  const text = about.text === 'named' ? '' : ', on which it was trained';
  const logits = no_logits === null ? '' : `no logits: ${no_logits}\n`;
  return (
    `${name}: ${grouped(n_latents)} latents, ${grouped(n_dead)} of them never active, ` +
    `on ${grouped(n_tokens)} tokens of ${dataset_path}${text}\n${logits}open ${join(folder, 'index.html')}\n`
  );
}
