import type { Command } from 'commander';
import { RENAMED } from '../../config/canonical.ts';
import {
  CACHE_ACTIVATIONS_ROWS,
  EVAL_ROWS,
  FEATURES_ROWS,
  OPTION_ROWS,
  PRETOKENIZE_ROWS,
} from '../../config/generated/options.ts';
import type { OptionRow } from '../../config/option-row.ts';
import { ERROR_TEXTS } from '../../error-texts.ts';
import { ERROR_CODES, type ErrorCode, SaeLensError } from '../../errors.ts';
import { nearest } from '../../nearest.ts';
import { printJson, printText } from '../output.ts';

export function addExplain(program: Command): void {
  const explain = program
    .command('explain')
    .summary('say what an option does or what an error code means')
    .description('Say what an option does, or what an error code means and what helps. Nothing is asked elsewhere.')
    .argument('<subject>', 'an option, for example sae.k, or an error code, for example HOOK_NOT_FOUND')
    .option('--json', 'one JSON document on stdout')
    .action((subject: string) => {
      const { json } = explain.opts<{ json?: true }>();
      const explained = explanationOf(subject);
      if (json) return printJson(explained.facts);
      const lines = explained.lines.filter(([, value]) => value !== '');
      printText(`${explained.title}\n${lines.map(([what, value]) => `  ${what.padEnd(10)} ${value}\n`).join('')}`);
    });
}

interface Explanation {
  readonly title: string;
  readonly lines: readonly (readonly [what: string, value: string])[];
  /** The same for programs. */
  readonly facts: object;
}

/** The commands that have options, those of training first: where names are the same, its words are shown. */
const COMMANDS: readonly (readonly [string, readonly OptionRow[]])[] = [
  ['train', OPTION_ROWS],
  ['cache-activations', CACHE_ACTIVATIONS_ROWS],
  ['pretokenize', PRETOKENIZE_ROWS],
  ['eval', EVAL_ROWS],
  ['features', FEATURES_ROWS],
];

function explanationOf(subject: string): Explanation {
  const written = subject.replaceAll('-', '_');
  const name = RENAMED[written] ?? written;
  const explained = explainedOption(name) ?? explainedCode(name.toUpperCase());
  if (explained !== null) return explained;
  const options = COMMANDS.flatMap(([, rows]) => rows.flatMap(({ flags }) => flags));
  const close = nearest(name, [...options, ...Object.keys(ERROR_CODES)]);
  const lists = 'list the options with `sae-lens-ts train --help`; the error codes are in docs/errors.md';
  throw new SaeLensError('USAGE', `There is no option and no error code ${JSON.stringify(subject)}`, {
    hint: close ? `did you mean ${close}?` : lists,
  });
}

function explainedOption(name: string): Explanation | null {
  const found = COMMANDS.flatMap(([command, rows]) => {
    const row = rows.find(({ path, flags }) => path === name || flags.includes(name));
    return row === undefined ? [] : [{ command, row }];
  });
  const [first] = found;
  if (first === undefined) return null;
  const { row } = first;
  return {
    title: row.path,
    facts: row,
    lines: [
      ['effect', row.description],
      ['value', row.choices?.join(' | ') ?? row.types.join(' | ').replaceAll('list:', 'list of ')],
      ['default', row.default],
      ['unit', row.unit ?? ''],
      ['only with', row.architectures ? `architecture ${row.architectures.join(', ')}` : ''],
      ['command', found.map(({ command }) => command).join(', ')],
      ['flags', row.flags.map((flag) => `--${flag}`).join(', ')],
      ['variable', `SAE_LENS_TS_${(row.flags[0] as string).replaceAll('.', '__').toUpperCase()}`],
    ],
  };
}

function explainedCode(code: string): Explanation | null {
  if (!Object.hasOwn(ERROR_CODES, code)) return null;
  const exit = ERROR_CODES[code as ErrorCode];
  const { meaning, remedy } = ERROR_TEXTS[code as ErrorCode];
  return {
    title: code,
    facts: { code, exit_code: exit, meaning, remedy },
    lines: [
      ['meaning', readable(meaning)],
      ['what to do', readable(remedy)],
      ['exit code', String(exit)],
    ],
  };
}

/** Links of Markdown as the places they lead to. */
const readable = (text: string): string => text.replace(/\[[^\]]*\]\(([^)]*)\)/g, 'docs/$1');
