import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { flagsLayer } from '../../src/cli/option-flags.ts';
import { spellFlags } from '../../src/cli/spelling.ts';
import {
  CACHE_ACTIVATIONS_ROWS,
  EVAL_ROWS,
  OPTION_ROWS,
  PRETOKENIZE_ROWS,
} from '../../src/config/generated/options.ts';
import { fileLayer, type Layer, presetLayer, resolveConfig, resolveOptions } from '../../src/config/index.ts';
import { type Block, PAGES } from './pages.ts';

/** Pages whose snippets of TypeScript no program runs, each with the reason. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'README.md': 'gpt2 and OpenWebText are on the hub; it is type-checked',
  'docs/pretrained.md': 'needs published SAEs; test/e2e/pretrained.test.ts does the same',
  'docs/sharing.md': 'needs a token of the hub; test/e2e/share.test.ts does the same',
  'docs/data.md': 'needs a dataset of the hub; test/e2e/pretokenize.test.ts does the same',
};
/** Programs that are not ours, and what of them is not run here. */
const OTHERS: Readonly<Record<string, string>> = {
  git: 'fetches the repository',
  docker: 'npm run test:docker',
  npm: 'its script is looked up',
  npx: 'tslab of test/notebook.ts',
  cp: 'a file of the package',
  jupyter: 'test/notebooks',
};

const blocks = PAGES.flatMap((page) => page.blocks.map((block) => ({ ...block, page: page.path })));
const firstWord = ({ text }: Block): string => text.trimStart().split(/\s/)[0] ?? '';
const isShell = (block: Block): boolean =>
  block.language === 'sh' || (block.language === '' && /^(sae-lens-ts$|npx$|npm$|git$|docker$)/.test(firstWord(block)));
const isTypeScript = (block: Block): boolean =>
  block.language === 'ts' || (block.language === '' && firstWord(block) === 'import');

/** The lines of a block, continued ones joined, without comments. */
const linesOf = ({ text }: Block): string[] =>
  text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '');
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, one, two, three]) => one ?? two ?? three ?? '');

interface Written {
  where: string;
  words: string[];
}

const lines: Written[] = [
  ...blocks
    .filter(isShell)
    .flatMap((block) => linesOf(block).map((line) => ({ where: block.where, words: wordsOf(line) }))),
  ...PAGES.flatMap(({ path, words }) =>
    words.filter((text) => /^(npx )?sae-lens-ts /.test(text)).map((text) => ({ where: path, words: wordsOf(text) })),
  ),
];
/** Ours, as they are typed, without the name of the program and what stands for more. */
const ours: Written[] = lines
  .map(({ where, words }) => ({ where, words: words[0] === 'npx' ? words.slice(1) : words }))
  .filter(({ words }) => words[0] === 'sae-lens-ts')
  .map(({ where, words }) => ({ where, words: words.slice(1).filter((word) => word !== '…' && word !== '&&') }));

/** The command line with every command, none of which does anything but note how it was called. */
async function commandLine(called: (command: Command) => void): Promise<Command> {
  const program = new Command('sae-lens-ts');
  for (const file of readdirSync('src/cli/commands')) {
    const name = file.replace('.ts', '');
    const added = Object.values<unknown>(await import(`../../src/cli/commands/${name}.ts`));
    for (const add of added) (add as (program: Command) => void)(program);
  }
  const silence = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
    for (const child of command.commands) silence(child.action(() => called(child)));
  };
  silence(program);
  return program;
}

/** What stands in for the file or the run that a line reads its other options from. */
const TRAINING = { dataset_path: 'text', n_batches_in_buffer: 64, sae: { architecture: 'topk' } };
const TEXT = { dataset_path: 'text', save_path: 'tokens' };
const CACHE = { dataset_path: 'text', model_name: 'a', hook_name: 'b', model_batch_size: 1, training_tokens: 1_000 };
const file = (value: object): Layer => ({ kind: 'file', source: 'a file', value });

/** Resolves the options that a line gives. */
const RESOLVE: Readonly<Record<string, (command: Command) => unknown>> = {
  train: (command) => {
    const { preset } = command.opts<{ preset?: string }>();
    const below = preset === undefined ? file(TRAINING) : presetLayer(preset);
    return resolveConfig([below, flagsLayer(command, OPTION_ROWS)]);
  },
  pretokenize: (command) => resolveOptions('pretokenize', [file(TEXT), flagsLayer(command, PRETOKENIZE_ROWS)]),
  'cache-activations': (command) =>
    resolveOptions('cache-activations', [file(CACHE), flagsLayer(command, CACHE_ACTIVATIONS_ROWS)]),
  eval: (command) => resolveOptions('eval', [flagsLayer(command, EVAL_ROWS)]),
};

describe('command lines of the documentation', () => {
  test.each(ours)('$where: sae-lens-ts $words', async ({ words }) => {
    const called: Command[] = [];
    const program = await commandLine((command) => called.push(command));
    await program.parseAsync(spellFlags(words), { from: 'user' }).catch((error) => {
      // In a sentence a command goes by its name alone.
      const isName = words.length === 1 && error.code === 'commander.missingArgument';
      if (!isName && error.code !== 'commander.helpDisplayed') throw error;
    });
    for (const command of called) RESOLVE[command.name()]?.(command);
  });

  test('are of programs that we know', () => {
    expect(ours.length).toBeGreaterThan(30);
    const unknown = lines.filter(({ words: [first = ''] }) => first !== 'sae-lens-ts' && !(first in OTHERS));
    expect(unknown).toEqual([]);
  });

  test('name scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
    const named = lines.filter(({ words }) => words[0] === 'npm' && words[1] !== 'install');
    const missing = named.filter(({ words: [, verb = '', name = ''] }) => !((verb === 'run' ? name : verb) in scripts));
    expect(missing).toEqual([]);
  });
});

describe('blocks of the documentation', () => {
  test('of TypeScript are run or type-checked by test/e2e/api-programs.test.ts, or have their reason', () => {
    const programs = readFileSync('test/e2e/api-programs.test.ts', 'utf8');
    const pages = new Set(blocks.filter(isTypeScript).map(({ page }) => page));
    expect([...pages].filter((page) => !programs.includes(`'${page}'`) && !(page in NOT_RUN))).toEqual([]);
    expect(Object.keys(NOT_RUN).filter((page) => !pages.has(page))).toEqual([]);
  });

  test.each(blocks.filter(({ language }) => language === 'yaml'))(
    'of YAML are configurations or registries: $where',
    ({ text }) => {
      const path = join(mkdtempSync(join(tmpdir(), 'snippets-')), 'config.yaml');
      writeFileSync(path, text);
      const layer = fileLayer(path);
      const isRegistry = Object.values(layer.value as object).every((entry) => entry?.repo_id !== undefined);
      if (!isRegistry) resolveConfig([layer]);
    },
  );

  test.each(blocks.filter(({ language }) => language === 'json'))('of JSON are JSON: $where', ({ text }) => {
    JSON.parse(text);
  });

  test('are of a kind that is looked at here', () => {
    const known = ['', 'text', 'ts', 'sh', 'yaml', 'json'];
    expect(blocks.filter(({ language }) => !known.includes(language)).map(({ where }) => where)).toEqual([]);
  });
});
