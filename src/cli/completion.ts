import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import {
  CACHE_ACTIVATIONS_ROWS,
  EVAL_ROWS,
  FEATURES_ROWS,
  OPTION_ROWS,
  PRETOKENIZE_ROWS,
} from '../config/generated/options.ts';
import { PRESETS } from '../config/presets/index.ts';
import { ERROR_CODES } from '../errors.ts';

/** What may stand for a word. */
export interface Completion {
  readonly value: string;
  readonly meaning: string;
}

const ROWS = [...OPTION_ROWS, ...CACHE_ACTIVATIONS_ROWS, ...PRETOKENIZE_ROWS, ...EVAL_ROWS, ...FEATURES_ROWS];
/** Options whose values are known from presets and from runs on this machine. */
const SEEN = new Set(['model_name', 'hook_name', 'dataset_path']);

/** bash puts a candidate on the line as it is: what it would run or take for a flag is not offered. */
const PLAIN = /^[\w./][\w./:@+=-]*$/;

/** What may stand for the last of the words, from what lies on this machine: no model is asked, no Python started. */
export function completions(program: Command, words: readonly string[]): Completion[] {
  const [partial = ''] = words.slice(-1);
  const before = words.slice(0, -1);
  const runsFolder = wordAfter(before, 'runs_folder') ?? 'runs';
  let command = program;
  for (const word of before) command = command.commands.find((one) => one.name() === word) ?? command;
  const [, flag, typed] = /^--([^=]+)=(.*)$/s.exec(partial) ?? [];
  if (flag !== undefined) {
    const values = valuesOf(optionNamed(command, flag), runsFolder);
    return startingWith(typed ?? '', values).map(({ value, meaning }) => ({ value: `--${flag}=${value}`, meaning }));
  }
  const [, last] = /^--([^=]+)$/.exec(before.at(-1) ?? '') ?? [];
  const option = last === undefined ? undefined : optionNamed(command, last);
  if (option !== undefined && (option.required || option.optional)) {
    return startingWith(partial, valuesOf(option, runsFolder));
  }
  if (partial.startsWith('-')) return startingWith(partial, flagsOf(command));
  const names = command.commands.filter((one) => !('_hidden' in one && one._hidden));
  if (names.length > 0) {
    return startingWith(
      partial,
      names.map((one) => ({ value: one.name(), meaning: one.summary() || one.description() })),
    );
  }
  const given = before.filter((word) => !word.startsWith('-')).length;
  return startingWith(partial, argumentsOf(command, Math.max(0, given - depthOf(command)), runsFolder));
}

const fold = (word: string): string => word.toLowerCase().replaceAll('-', '_');

function startingWith(partial: string, all: readonly Completion[]): Completion[] {
  return all.filter(({ value }) => fold(value).startsWith(fold(partial)));
}

const optionNamed = (command: Command, flag: string): Option | undefined =>
  command.options.find(({ long, short }) => [long, short].some((one) => one && fold(one) === fold(`--${flag}`)));

const flagsOf = (command: Command): Completion[] =>
  command.options.map(({ long, short, description }) => ({
    value: long ?? short ?? '',
    meaning: sentence(description),
  }));

function valuesOf(option: Option | undefined, runsFolder: string): Completion[] {
  if (option === undefined) return [];
  const name = (option.long ?? '').slice(2);
  if (option.argChoices) return plain(option.argChoices);
  if (name === 'preset' || name === 'template') {
    return Object.entries(PRESETS).map(([value, { description }]) => ({ value, meaning: description }));
  }
  if (name === 'from') return plain(runsIn(runsFolder).map((run) => join(runsFolder, run)));
  if (SEEN.has(name)) return plain(seen(name, runsFolder));
  const row = ROWS.find(({ flags }) => flags.some((flag) => fold(flag) === fold(name)));
  if (row?.choices) return plain(row.choices);
  return row?.types.includes('boolean') ? plain(['true', 'false']) : [];
}

function argumentsOf(command: Command, index: number, runsFolder: string): Completion[] {
  const args = command.registeredArguments;
  const last = args.at(-1);
  const argument = args[index] ?? (last?.variadic ? last : undefined);
  if (argument === undefined) return [];
  if (argument.argChoices) return plain(argument.argChoices);
  const name = argument.name();
  if (['run', 'other', 'runs'].includes(name)) return plain(runsIn(runsFolder));
  if (name === 'model') return plain(seen('model_name', runsFolder));
  if (name !== 'subject') return [];
  const keys = new Map(ROWS.map(({ path, description }) => [path, sentence(description)]));
  return [...[...keys].map(([value, meaning]) => ({ value, meaning })), ...plain(Object.keys(ERROR_CODES))];
}

/** Words that name a command before its arguments begin. */
function depthOf(command: Command): number {
  let depth = 0;
  for (let up = command; up.parent !== null; up = up.parent) depth++;
  return depth;
}

function runsIn(runsFolder: string): string[] {
  if (!existsSync(runsFolder)) return [];
  const entries = readdirSync(runsFolder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return entries
    .map(({ name }) => name)
    .filter((name) => PLAIN.test(name) && existsSync(join(runsFolder, name, 'run.json')));
}

/** The values that presets and runs have for an option. */
function seen(option: string, runsFolder: string): string[] {
  const values = new Set<string>();
  for (const { config } of Object.values(PRESETS)) {
    const value = (config as unknown as Record<string, unknown>)[option];
    if (typeof value === 'string') values.add(value);
  }
  for (const run of runsIn(runsFolder)) {
    const path = join(runsFolder, run, 'config.yaml');
    if (!existsSync(path)) continue;
    const [, value] = new RegExp(`^${option}: (\\S+)`, 'm').exec(readFileSync(path, 'utf8')) ?? [];
    const word = value?.replace(/^(["'])(.*)\1$/, '$2') ?? '';
    if (PLAIN.test(word)) values.add(word);
  }
  return [...values];
}

function wordAfter(words: readonly string[], flag: string): string | undefined {
  const at = words.findIndex((word) => fold(word) === fold(`--${flag}`));
  return at === -1 ? undefined : words[at + 1];
}

const plain = (values: readonly string[]): Completion[] => values.map((value) => ({ value, meaning: '' }));

const sentence = (text: string): string => text.split(/\. |\n|\t/)[0] ?? '';
