import { stringify } from 'yaml';
import { OPTION_ROWS } from './generated/options.ts';

/** What a written configuration says beside its values. */
export interface Comments {
  /** Lines above everything. */
  readonly head: readonly string[];
  /** By dotted key, instead of what the option does. */
  readonly why: Readonly<Record<string, string>>;
}

/** The order of the parts: what is trained on, then what. */
const ORDER = ['Language model', 'Data', 'Activations', 'SAE', 'Training', 'Devices and numerics'];
/** Comments begin here where the value leaves room. */
const COLUMN = 44;

const ROWS = new Map(OPTION_ROWS.map((row) => [row.path, row]));

/** A configuration as YAML for people: in parts, each line with its unit and why. */
export function commentedFile(config: object, { head, why }: Comments): string {
  const parts = new Map<string, string[]>();
  const lineOf = (path: string, key: string, value: unknown): string => {
    const [row, reason] = [ROWS.get(path), why[path]];
    const unit = row?.unit === undefined ? '' : `[${row.unit}] `;
    const [effect] = (row?.description ?? '').split(/\.(?: |$)/);
    const comment = reason ?? effect ?? '';
    const text = `${key}: ${yamlOf(value)}`;
    return comment === '' ? text : `${text.padEnd(COLUMN)} # ${unit}${comment}`;
  };
  for (const [key, value] of Object.entries(config)) {
    const isGroup = key === 'sae' || key === 'logger';
    const name = key === 'sae' ? 'SAE' : isGroup ? 'Logging' : (ROWS.get(key)?.group ?? 'Language model');
    const lines = parts.get(name) ?? [];
    if (isGroup) lines.push(`${key}:`);
    for (const [inner, one] of isGroup ? Object.entries(value as object) : []) {
      lines.push(`  ${lineOf(`${key}.${inner}`, inner, one)}`);
    }
    if (!isGroup) lines.push(lineOf(key, key, value));
    parts.set(name, lines);
  }
  const rank = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const ordered = [...parts].sort(([a], [b]) => rank(a) - rank(b));
  const texts = ordered.map(([name, lines]) => `# ${name}\n${lines.join('\n')}\n`);
  return [`${head.map((line) => `# ${line}`.trimEnd()).join('\n')}\n`, ...texts].join('\n');
}

/** On one line. */
const yamlOf = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : stringify(value).trimEnd();
