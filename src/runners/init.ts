import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { notWritten, writeFileAtomic, writeFileSynced } from '../artifacts/atomic.ts';
import { commentedFile } from '../config/commented-file.ts';
import { type Answers, presetWith } from '../config/presets/answers.ts';
import { PRESETS, presetNamed } from '../config/presets/index.ts';
import type { Preset } from '../config/presets/preset.ts';
import { resolveConfig } from '../config/resolve.ts';
import { SaeLensError } from '../errors.ts';
import { packageRoot } from '../worker/package-root.ts';
import { shellWord } from './shell-word.ts';

export interface InitOptions {
  /** What the file begins from. */
  readonly preset: string | Preset;
  /** What is otherwise. */
  readonly answers?: Answers | undefined;
  /** Whether a file that is there may be replaced. */
  readonly force: boolean;
}

/** What was written. */
export interface Initialized {
  readonly path: string;
  /** Commands to run next, each with what it does. */
  readonly next: readonly { readonly command: string; readonly purpose: string }[];
}

/**
 * Writes a configuration with a comment on every line, which `train` takes.
 *
 * @throws SaeLensError USAGE when the file is there, CONFIG_INVALID when the answers do not go together, STORAGE
 */
export async function initConfig(path: string, { preset, answers, force }: InitOptions): Promise<Initialized> {
  const base = typeof preset === 'string' ? presetNamed(preset, '--template') : preset;
  const chosen = answers === undefined ? base : presetWith(base, answers);
  resolveConfig([{ kind: 'object', source: 'the answers', value: chosen.config }]);
  const [name] = Object.entries(PRESETS).find(([, one]) => one === chosen) ?? [];
  const word = shellWord(path);
  const next = [
    ...(chosen.first === undefined ? [] : [{ command: chosen.first, purpose: 'make what it trains from, once' }]),
    { command: `sae-lens-ts train ${word} --dry-run`, purpose: 'see what would happen: steps, memory, disk, time' },
    { command: `sae-lens-ts train ${word}`, purpose: 'train' },
  ];
  const head = [
    `yaml-language-server: $schema=${schemaFrom(resolve(path))}`,
    '',
    name === undefined ? 'Written by sae-lens-ts init' : `${chosen.description} (preset ${name})`,
    ...next.map(({ command, purpose }) => `  ${command}   # ${purpose}`),
    'All options: sae-lens-ts train --help. One of them: sae-lens-ts explain KEY',
  ];
  await writeNew(resolve(path), commentedFile(chosen.config, { head, why: chosen.why }), force);
  return { path, next };
}

/** Never over a file that is there, also one that comes at this moment, unless that is wanted. */
async function writeNew(path: string, text: string, force: boolean): Promise<void> {
  if (force) return writeFileAtomic(path, text);
  await writeFileSynced(path, text).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw notWritten(`Cannot write "${path}"`, dirname(path), error);
    throw new SaeLensError('USAGE', `Cannot write "${path}": it is there already`, {
      hint: 'give another name, or --force to replace it',
    });
  });
}

/**
 * The JSON Schema that came with this program, for an editor that reads the file: relative where both lie in one
 * project, so that it can move.
 */
function schemaFrom(file: string): string {
  const schema = join(packageRoot(), 'docs', 'config.schema.json');
  const [project = ''] = schema.split(`${sep}node_modules${sep}`);
  const root = project === schema ? packageRoot() : project;
  const way = relative(root, file);
  if (way.startsWith('..') || isAbsolute(way)) return schema;
  const there = relative(dirname(file), schema).replaceAll(sep, '/');
  return there.startsWith('.') ? there : `./${there}`;
}
