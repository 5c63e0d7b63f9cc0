import { type Command, Option } from 'commander';
import { SaeLensError } from '../../errors.ts';
import { hooksText, matchingHooks } from '../hooks-text.ts';
import { printJson, printText } from '../output.ts';

export function addHooks(program: Command): void {
  const command = program
    .command('hooks')
    .summary('list the hook points of a model')
    .description('List the hook points of a model with the shape of their activations and the width of an SAE there.')
    .argument('<model>', 'name, folder, or bundled:NAME')
    .argument('[pattern]', 'a part of the name, for example resid_post or layers.4.*mlp')
    .addOption(
      new Option('--model_class_name <value>', 'how the model is loaded')
        .choices(['HookedTransformer', 'AutoModelForCausalLM'])
        .default('HookedTransformer'),
    )
    .option('--all', 'a line for every layer, also where they are alike')
    .option('--json', 'one JSON document on stdout')
    .action(async (model: string, pattern: string | undefined) => {
      const { all, json, model_class_name } = command.opts<HooksFlags>();
      const { listHooks } = await import('../../runners/hooks.ts');
      const every = await listHooks({ model_name: model, model_class_name });
      const hooks = pattern === undefined ? every : matchingHooks(every, pattern);
      if (hooks.length === 0 && pattern !== undefined) {
        throw new SaeLensError(
          'HOOK_NOT_FOUND',
          `No hook point of ${model} has ${JSON.stringify(pattern)} in its name`,
          {
            hint: `see them all with \`sae-lens-ts hooks ${model}\``,
          },
        );
      }
      if (json) return printJson(hooks);
      printText(hooksText(hooks, all ?? false));
    });
}

interface HooksFlags {
  all?: true;
  json?: true;
  model_class_name: 'HookedTransformer' | 'AutoModelForCausalLM';
}
