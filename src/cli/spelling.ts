import { RENAMED } from '../config/canonical.ts';
import {
  CACHE_ACTIVATIONS_ROWS,
  EVAL_ROWS,
  FEATURES_ROWS,
  OPTION_ROWS,
  PRETOKENIZE_ROWS,
} from '../config/generated/options.ts';
import type { OptionRow } from '../config/option-row.ts';

interface Spelling {
  row: OptionRow;
  /** `--no-x`. */
  negated: boolean;
}

/** Every way to write the flag of an option: `--sae.k`, `--k`, SAELens' older names, dashes for underscores, `--no-x` and `--nox`. */
function spellingsOf(rows: readonly OptionRow[]): ReadonlyMap<string, Spelling> {
  return new Map(
    rows.flatMap((row) => {
      const older = Object.keys(RENAMED).filter((name) => row.flags.includes(RENAMED[name] as string));
      const names = [...row.flags, ...older, ...(row.path === 'sae.architecture' ? ['sae'] : [])];
      return names.flatMap((name): [string, Spelling][] => {
        const plain: [string, Spelling] = [name, { row, negated: false }];
        if (!row.types.includes('boolean')) return [plain];
        return [plain, [`no_${name}`, { row, negated: true }], [`no${name}`, { row, negated: true }]];
      });
    }),
  );
}

/** The commands whose options are not those of training. */
const ROWS: Readonly<Record<string, readonly OptionRow[]>> = {
  pretokenize: PRETOKENIZE_ROWS,
  'cache-activations': CACHE_ACTIVATIONS_ROWS,
  eval: EVAL_ROWS,
  features: FEATURES_ROWS,
};

const LIST_ITEM = /^(-?\d+|null|none)$/i;
/** What follows a boolean and cannot be a flag or the path of a file is meant as its value, be it a good one or not. */
const BARE_WORD = /^[a-z0-9]+$/i;

/**
 * Write the flags of options in one way, `--option=value`, so that the parser needs to know only that: the value of a
 * boolean may be absent, a list is space separated as in SAELens (`--seqpos_slice 5 -5`). Other words stay.
 */
export function spellFlags(words: readonly string[]): string[] {
  const spellings = spellingsOf(ROWS[words[0] ?? ''] ?? OPTION_ROWS);
  const spelled: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as string;
    if (word === '--') return [...spelled, ...words.slice(index)];
    const [, name = '', given] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    const spelling = spellings.get(name.replaceAll('-', '_'));
    if (spelling === undefined) {
      spelled.push(word);
      continue;
    }
    const { row, negated } = spelling;
    const flag = `--${row.flags[0]}`;
    if (negated) {
      spelled.push(`${flag}=false`);
      continue;
    }
    if (given !== undefined) {
      spelled.push(`${flag}=${given}`);
      continue;
    }
    const values: string[] = [];
    const isList = row.types.some((type) => type.startsWith('list:'));
    const takes = (next: string | undefined) =>
      next !== undefined &&
      ((isList && LIST_ITEM.test(next)) ||
        (values.length === 0 && row.types.includes('boolean') && BARE_WORD.test(next)) ||
        (values.length === 0 && isList && next.startsWith('[')));
    while (takes(words[index + 1])) values.push(words[++index] as string);
    if (values.length > 0) spelled.push(`${flag}=${values.join(' ')}`);
    else if (row.types.includes('boolean')) spelled.push(`${flag}=true`);
    else {
      const value = words[++index];
      spelled.push(value === undefined ? flag : `${flag}=${value}`);
    }
  }
  return spelled;
}
