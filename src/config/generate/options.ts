import type { z } from 'zod';
import { cacheActivationsShapes } from '../cache-activations-schema.ts';
import { evalShapes } from '../evals-schema.ts';
import { featuresShapes } from '../features-schema.ts';
import { architecturesWith, loggingOptions, runnerOptions, saeOptions } from '../keys.ts';
import { metaOf, OPTION_GROUPS } from '../option.ts';
import type { OptionRow } from '../option-row.ts';
import { pretokenizeShapes } from '../pretokenize-schema.ts';
import { checkedShape, runnerShapes } from '../runner-schema.ts';
import { ARCHITECTURES } from '../sae-schema.ts';
import { saesSchema } from '../saes-schema.ts';
import { alternatives, type JsonType, jsonTypeOf } from './json-type.ts';

/** One row an option, in the order of the option table. */
export function optionRows(): OptionRow[] {
  const architecture: OptionRow = {
    path: 'sae.architecture',
    flags: ['architecture', 'sae.architecture'],
    group: 'SAE',
    types: ['choice'],
    choices: ARCHITECTURES,
    default: 'standard',
    description: 'Kind of SAE; it decides which of the options below there are.',
  };
  const sae = Object.entries(saeOptions).map(([key, schema]) => {
    const flags = key in runnerOptions ? [`sae.${key}`] : [key, `sae.${key}`];
    const architectures = architecturesWith(key);
    const some = architectures.length < ARCHITECTURES.length ? { architectures } : {};
    return { ...row(`sae.${key}`, flags, 'SAE', schema), ...some };
  });
  const run = Object.entries(runnerShapes).flatMap(([group, shape]) =>
    Object.entries(shape)
      .filter(([key]) => key !== 'logger')
      .map(([key, schema]) => row(key, [key], group, schema)),
  );
  const last = OPTION_GROUPS[OPTION_GROUPS.length - 1] as string;
  const logging = Object.entries(loggingOptions).map(([key, schema]) =>
    row(`logger.${key}`, [key, `logger.${key}`], last, schema),
  );
  const checked = Object.entries(checkedShape).map(([key, schema]) => row(key, [key], 'Language model', schema));
  const saes: OptionRow = { ...row('saes', ['saes'], 'SAE', saesSchema), types: ['object'] };
  const rows = [architecture, saes, ...sae, ...run, ...logging, ...checked];
  return OPTION_GROUPS.flatMap((group) => rows.filter((candidate) => candidate.group === group));
}

type Shapes = Readonly<Record<string, Readonly<Record<string, z.ZodType>>>>;

/** One row an option of a runner whose options are flat. */
function flatRows(shapes: Shapes): OptionRow[] {
  return Object.entries(shapes).flatMap(([group, shape]) =>
    Object.entries(shape).map(([key, schema]) => row(key, [key], group, schema)),
  );
}

function row(path: string, flags: string[], group: string, schema: z.ZodType): OptionRow {
  const { description, unit, computed } = metaOf(schema);
  const type = jsonTypeOf(schema);
  const all = alternatives(type);
  const choices = all.flatMap((part) => part.enum ?? (part.const === undefined ? [] : [part.const])).map(String);
  const onlyChoices = all.every((part) => part.enum || part.type === 'null');
  return {
    path,
    flags,
    group,
    types: [...new Set(all.map(nameOfType))],
    ...(choices.length > 0 && onlyChoices ? { choices } : {}),
    default: computed ?? (type.default === undefined ? 'not set' : text(type.default)),
    ...(unit === undefined ? {} : { unit }),
    description,
  };
}

function nameOfType(type: JsonType): string {
  if (type.enum || type.const !== undefined) return 'choice';
  if (type.type === 'array') return `list:${nameOfType(alternatives(type.items ?? {})[0] ?? {})}`;
  return typeof type.type === 'string' ? type.type : 'object';
}

function text(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

/** src/config/generated/options.ts */
export function optionTable(): string {
  const table = (name: string, rows: OptionRow[]) => [
    '// biome-ignore format: one option a line',
    `export const ${name}: readonly OptionRow[] = [`,
    ...rows.map((option) => `  ${JSON.stringify(option)},`),
    '];\n',
  ];
  return [
    '// Generated from the zod schemas in src/config by `npm run generate`; do not edit.',
    "import type { OptionRow } from '../option-row.ts';\n",
    ...table('OPTION_ROWS', optionRows()),
    ...table('PRETOKENIZE_ROWS', flatRows(pretokenizeShapes)),
    ...table('CACHE_ACTIVATIONS_ROWS', flatRows(cacheActivationsShapes)),
    ...table('EVAL_ROWS', flatRows(evalShapes)),
    ...table('FEATURES_ROWS', flatRows(featuresShapes)),
  ].join('\n');
}

/** docs/options.md */
export function optionsPage(): string {
  const sections = (level: string, rows: OptionRow[]) =>
    [...new Set(rows.map(({ group }) => group))].map((group) => {
      const lines = rows.filter((option) => option.group === group).map(tableLine);
      return `${level} ${group}\n\n| option | type | default | effect |\n|---|---|---|---|\n${lines.join('\n')}`;
    });
  return [
    '# Options\n',
    'Generated from the schemas in `src/config` by `npm run generate`; do not edit.',
    'The names are those of SAELens. A default in *italics* depends on other options. `explain KEY` shows one',
    'option in the terminal, `config print` the final value of each and the layer that set it.\n',
    sections('##', optionRows()).join('\n\n'),
    '\n## pretokenize\n',
    sections('###', flatRows(pretokenizeShapes)).join('\n\n'),
    '\n## cache-activations\n',
    sections('###', flatRows(cacheActivationsShapes)).join('\n\n'),
    '\n## eval\n',
    sections('###', flatRows(evalShapes)).join('\n\n'),
    '\n## features\n',
    `${sections('###', flatRows(featuresShapes)).join('\n\n')}\n`,
  ].join('\n');
}

function tableLine(option: OptionRow): string {
  const schema = saeOptions[option.path.slice(4)] ?? loggingOptions[option.path.slice(7)] ?? runnerOptions[option.path];
  const meta = schema === undefined ? undefined : metaOf(schema);
  const v5 = meta?.v5 === undefined || meta.computed?.startsWith('v5') ? '' : ` (flat 5.x: ${text(meta.v5)})`;
  const initial = meta?.computed ? `*${option.default}*` : `\`${option.default}\``;
  const only = option.architectures ? ` Only ${option.architectures.join(', ')}.` : '';
  const unit = option.unit ? ` (${option.unit})` : '';
  const type = option.choices?.join(' \\| ') ?? option.types.join(' \\| ').replaceAll('list:', 'list of ');
  return `| \`${option.path}\` | ${type}${unit} | ${initial}${v5} | ${option.description.replaceAll('|', '\\|')}${only} |`;
}
