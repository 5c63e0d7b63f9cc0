import { type Command, Option } from 'commander';
import { printJson } from '../output.ts';

export function addHooks(program: Command): void {
  const command = program
    .command('hooks')
    .summary('list the hook points of a model')
    .description('List the hook points of a model with the shape of their activations.')
    .argument('<model>', 'name, folder, or bundled:NAME')
    .addOption(
      new Option('--model_class_name <value>', 'how the model is loaded')
        .choices(['HookedTransformer', 'AutoModelForCausalLM'])
        .default('HookedTransformer'),
    )
    .option('--json', 'one JSON document on stdout')
    .action(async (model: string) => {
      const { json, model_class_name } = command.opts<{ json?: true; model_class_name: ModelClass }>();
      const { listHooks } = await import('../../runners/hooks.ts');
      const hooks = await listHooks({ model_name: model, model_class_name });
      if (json) return printJson(hooks);
      const width = Math.max(...hooks.map(({ name }) => name.length));
      for (const { name, shape } of hooks) process.stdout.write(`${name.padEnd(width)}  [${shape.join(', ')}]\n`);
    });
}

type ModelClass = 'HookedTransformer' | 'AutoModelForCausalLM';
