import { SaeLensError } from '../errors.ts';

/** One thing wrong with a configuration. */
export interface Problem {
  /** Dotted path of the option: `sae.k`. */
  path: string;
  /** What was given. */
  value?: unknown;
  /** What is wrong with it, beginning with the value where there is one. */
  message: string;
  /** What to write instead. */
  hint?: string;
  /** Where it was set: `file:line:column`, a flag, a variable. */
  where?: string;
}

/** A value as people write it, cut to one line. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The same for a table: 0.0003 / 10 is 0.00003 there, as meant, and not 0.000029999999999999997. */
export function shortly(value: unknown): string {
  return show(typeof value === 'number' ? Number(value.toPrecision(12)) : value);
}

/** All problems in one error, each with its place, path, what is wrong and what to write instead. */
export function configError(problems: readonly Problem[], place: string, hint?: string): SaeLensError {
  const width = Math.max(...problems.map((problem) => problem.where?.length ?? 0));
  const pathWidth = Math.max(...problems.map((problem) => problem.path.length));
  const indent = ' '.repeat(2 + (width > 0 ? width + 2 : 0) + (pathWidth > 0 ? pathWidth + 2 : 0));
  const lines = problems.map((problem) => {
    const where = width > 0 ? `${(problem.where ?? '').padEnd(width)}  ` : '';
    const path = pathWidth > 0 ? `${problem.path.padEnd(pathWidth)}  ` : '';
    const first = `  ${where}${path}${problem.message}`;
    return problem.hint ? `${first}\n${indent}${problem.hint}` : first;
  });
  const title = `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'} in ${place}`;
  return new SaeLensError('CONFIG_INVALID', `${title}\n\n${lines.join('\n')}`, { hint, details: { problems } });
}
