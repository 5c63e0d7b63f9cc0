import { nearest } from '../nearest.ts';
import { OPTION_ROWS } from './generated/options.ts';
import type { Layer } from './layer.ts';
import type { OptionRow } from './option-row.ts';
import { configError, type Problem } from './problem.ts';
import { put } from './put.ts';
import { readText } from './text.ts';

/** Options are read from `SAE_LENS_TS_<OPTION>`; `__` stands for a dot: `SAE_LENS_TS_SAE__K=32`. */
const PREFIX = 'SAE_LENS_TS_';

/**
 * The options in the environment. Other variables with our prefix belong to the program itself and are left alone,
 * unless they look like a misspelled option.
 */
export function environmentLayer(
  environment: Readonly<Record<string, string | undefined>>,
  rows: readonly OptionRow[] = OPTION_ROWS,
): Layer | undefined {
  const value: Record<string, unknown> = {};
  const variables = new Map<string, string>();
  const problems: Problem[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const name = variable.slice(PREFIX.length).toLowerCase().replaceAll('__', '.');
    const isNamed = ({ path, flags }: OptionRow) => path === name || flags.includes(name);
    const row = rows.find(isNamed);
    if (row === undefined) {
      if (rows !== OPTION_ROWS && OPTION_ROWS.some(isNamed)) continue; // set for training
      const close =
        name.length > 4
          ? nearest(
              name,
              rows.flatMap(({ flags }) => flags),
            )
          : undefined;
      if (close === undefined) continue;
      const hint = `did you mean ${PREFIX}${close.replaceAll('.', '__').toUpperCase()}?`;
      problems.push({ path: name, value: text, message: 'is not an option', hint, where: variable });
      continue;
    }
    const other = variables.get(row.path);
    if (other !== undefined && environment[other] !== text) {
      const message = `${other} = ${JSON.stringify(environment[other])} is the same option`;
      problems.push({ path: row.path, value: text, message, hint: 'keep one of them', where: variable });
    }
    put(value, row.path.split('.'), readText(row, text));
    variables.set(row.path, variable);
  }
  if (problems.length > 0) throw configError(problems, 'the environment');
  if (variables.size === 0) return undefined;
  return {
    kind: 'environment',
    source: 'the environment',
    value,
    at: (path) => variables.get(path.join('.')) ?? variables.get(path[0] ?? ''),
  };
}
