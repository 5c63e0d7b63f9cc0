import { type Command, InvalidArgumentError } from 'commander';
import { printJson, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface PeekFlags {
  name?: string;
  split: string;
  column?: string;
  rows: number;
  tokenizer?: string;
  json?: true;
}

export function addDatasets(program: Command): void {
  const command = program
    .command('datasets')
    .summary('list datasets that are tokenized already, or look at one')
    .description('List datasets on the hub that are tokenized already. `datasets peek` looks at any dataset.')
    .option('--tokenizer <name>', 'only those whose tokenizer has this in its name')
    .option('--json', 'one JSON document on stdout')
    .action(async () => {
      const { json, tokenizer } = command.opts<{ json?: true; tokenizer?: string }>();
      const { pretokenizedDatasets } = await import('../../runners/prepared-datasets.ts');
      const found = pretokenizedDatasets(tokenizer);
      if (json) return printJson(found);
      if (found.length === 0) {
        return printText(`No dataset of the list has a tokenizer with "${tokenizer}" in its name\n`);
      }
      const rows = found.map((one) => [
        one.id,
        one.tokenizer,
        one.source,
        String(one.context_size),
        one.created_with_saelens ? 'yes' : 'no',
      ]);
      printText(tableText([['dataset', 'tokenizer', 'source', 'context', 'by SAELens'], ...rows]));
    });
  addPeek(command);
}

function addPeek(datasets: Command): void {
  const command = datasets
    .command('peek')
    .summary('columns, first rows and token counts of a dataset')
    .description('Look at a dataset: columns, types, first rows, and how many tokens it has by its first rows.')
    .argument('<path>', 'file, folder, hub name, or bundled:NAME')
    .option('--name <name>', 'configuration of a hub dataset')
    .option('--split <split>', 'split', 'train')
    .option('--column <name>', 'whose lengths are told; default: the one training would take')
    .option('--rows <count>', 'rows to show', wholeNumber, 5)
    .option('--tokenizer <name>', 'count tokens with it, and show token ids as text')
    .option('--json', 'one JSON document on stdout')
    .action(async (path: string) => {
      const { json, ...options } = command.optsWithGlobals<PeekFlags>();
      const { peekDataset } = await import('../../runners/datasets.ts');
      const look = await peekDataset({ path, ...options });
      if (json) return printJson(look);
      const { lookText } = await import('../dataset-text.ts');
      printText(lookText(look));
    });
}

function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number.');
}
