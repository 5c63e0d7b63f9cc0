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
import { linesOf } from './lines.ts';
import { PAGES } from './pages.ts';

/** Programs that are not ours, and what of them is not run here. */
const OTHERS: Readonly<Record<string, string>> = {
  git: 'fetches the repository',
  docker: 'npm run test:docker',
  npm: 'its script is looked up',
  npx: 'tslab of test/notebook.ts',
  cp: 'a file of the package',
  jupyter: 'test/notebooks',
  eval: 'the script of the completion',
};

const code = PAGES.flatMap((page) => page.code);
const blocks = code.filter(({ language }) => language !== 'sentence');
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, one, two, three]) => one ?? two ?? three ?? '');

const lines = code.flatMap(linesOf).map(({ text, where }) => ({ where, words: wordsOf(text) }));
/** Ours, as they are typed, without the name of the program and what stands for more. */
const ours = lines
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

const childOf = (command: Command, name: string | undefined): Command | undefined =>
  command.commands.find((child) => child.name() === name);
/** Whether words go down to a command that has nothing below it, or takes these flags. */
function isThere(command: Command, [first, ...rest]: string[]): boolean {
  const child = childOf(command, first);
  if (child !== undefined) return isThere(child, rest);
  const flags = [first ?? '', ...rest].filter((word) => word.startsWith('--'));
  const takesNoWord = command.commands.length > 0 && command.registeredArguments.length === 0;
  return (
    !(takesNoWord && flags.length === 0) && flags.every((flag) => command.options.some(({ long }) => long === flag))
  );
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
      if (error.code !== 'commander.helpDisplayed') throw error;
    });
    for (const command of called) RESOLVE[command.name()]?.(command);
  });

  test('name commands and flags that are there, also where a sentence leaves the program out', async () => {
    const program = await commandLine(() => {});
    const named = code
      .filter(({ language, text }) => language === 'sentence' && text.includes(' '))
      .filter(({ text }) => childOf(program, wordsOf(text)[0]) !== undefined);
    expect(named.length).toBeGreaterThan(40);
    expect(
      named.filter(({ text }) => !isThere(program, wordsOf(text))).map(({ where, text }) => [where, text]),
    ).toEqual([]);
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
