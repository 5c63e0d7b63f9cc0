import { createReadStream } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { byNearness } from '../nearest.ts';
import builtIn from './releases.json' with { type: 'json' };
import { SAE_FORMATS, type SaeFormat } from './sae-format.ts';

/** SAELens' own file, with every SAE on lines of its own, has 1.5 MB. */
const LARGEST_BYTES = 16_000_000;
/** A release has hundreds of SAEs; templates that make more than this are a mistake. */
const MOST_SAES = 100_000;
const PROBLEMS_TOLD = 5;
const NAMES_TOLD = 3;

/** A list, or a range that is as good as one and takes no memory before its length was looked at. */
interface Values {
  readonly length: number;
  at(i: number): number | string | undefined;
}
const Range = z
  .string()
  .regex(/^\d+-\d+$/, 'expected numbers or a range such as 0-11')
  .transform((text): Values => {
    const [first = 0, last = 0] = text.split('-').map(Number);
    return { length: Math.max(last - first + 1, 0), at: (i) => first + i };
  });
const Columns = z.record(z.string(), z.union([Range, z.array(z.union([z.number(), z.string()]))]));
const Factor = z.number().positive().nullish();

/** Keys that say more of an SAE, as SAELens' own file has them, are left alone. */
const Entry = z.looseObject({
  id: z.string().min(1),
  /** Folder in the repository; default: the id. */
  path: z.union([z.string(), z.int()]).optional(),
  /** Where the files do not say it. */
  hook_name: z.string().optional(),
  /** What activations were multiplied with, where the files say that they were and not by how much. */
  norm_scaling_factor: z.union([Factor, z.array(Factor)]),
  /** Numbers for `{name}` in the texts above: all combinations. */
  every: Columns.optional(),
  /** The same, one SAE for each place in the lists. */
  each: Columns.optional(),
});
const Release = z.looseObject({
  repo_id: z.string().min(1),
  model: z.string(),
  conversion_func: z.string().nullish(),
  config_overrides: z.record(z.string(), z.unknown()).nullish(),
  saes: z.array(Entry),
});
const Releases = z.record(z.string(), Release);
type Entry = z.output<typeof Entry>;

/** Published SAEs under one name. */
export interface Release {
  readonly name: string;
  readonly repo: string;
  readonly model: string;
  /** By SAELens' name; null for one that this version has no reader for. */
  readonly format: SaeFormat | null;
  readonly saes: ReadonlyMap<string, ReleasedSae>;
}

/** Where an SAE of a release lies, and what its files do not say. */
export interface ReleasedSae {
  readonly repo: string;
  readonly path: string;
  /** Fields of cfg.json that the release knows better than the files. */
  readonly overrides: Readonly<Record<string, unknown>>;
  readonly normScalingFactor: number | null;
}

/** Well-known releases by name, and those of one's own. */
export class Registry {
  readonly #releases: z.output<typeof Releases>;

  private constructor(releases: z.output<typeof Releases>) {
    this.#releases = releases;
  }

  /**
   * The releases that come with this package, and those of a file, which overrule them. The file is YAML or JSON in the
   * words of SAELens' `pretrained_saes.yaml`.
   *
   * @throws SaeLensError REGISTRY_INVALID
   */
  static async read(file?: string): Promise<Registry> {
    const own = file === undefined ? {} : checked(await readFileOf(file), file);
    return new Registry({ ...Releases.parse(builtIn), ...own });
  }

  get names(): string[] {
    return Object.keys(this.#releases).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#releases, name);
  }

  /** @throws SaeLensError RELEASE_NOT_FOUND, with the nearest names */
  release(name: string): Release {
    const found = this.has(name) ? this.#releases[name] : undefined;
    if (found === undefined) {
      throw new SaeLensError('RELEASE_NOT_FOUND', `There is no release "${name}" and no repository is named so`, {
        hint: `did you mean ${nearestNames(name, this.names).join(', ')}? List them with \`sae-lens-ts pretrained\``,
      });
    }
    const kind = found.conversion_func ?? 'sae_lens';
    const format = Object.hasOwn(SAE_FORMATS, kind) ? (kind as SaeFormat) : null;
    const saes = new Map(found.saes.flatMap((entry) => saesOf(entry, found)));
    return { name, repo: found.repo_id, model: found.model, format, saes };
  }

  /** @throws SaeLensError RELEASE_NOT_FOUND, with the nearest ids; SAE_INVALID for a format without a reader */
  sae(name: string, id: string): ReleasedSae {
    const { saes, format } = this.release(name);
    const found = saes.get(id);
    if (found === undefined) {
      throw new SaeLensError('RELEASE_NOT_FOUND', `Release "${name}" has no SAE "${id}"`, {
        hint: `did you mean ${nearestNames(id, [...saes.keys()]).join(', ')}? List them with \`sae-lens-ts pretrained ${name}\``,
      });
    }
    if (format === null) {
      const kind = this.#releases[name]?.conversion_func;
      throw new SaeLensError('SAE_INVALID', `Cannot load "${id}" of "${name}": no reader for its format, ${kind}`, {
        hint: `there are readers for ${Object.keys(SAE_FORMATS).join(', ')}`,
      });
    }
    return found;
  }
}

function saesOf(entry: Entry, release: z.output<typeof Release>): [id: string, ReleasedSae][] {
  const { normalize_activations, ...metadata } = release.config_overrides ?? {};
  return rowsOf(entry).map((row, i) => {
    const id = filled(entry.id, row);
    const hook_name = entry.hook_name === undefined ? undefined : filled(entry.hook_name, row);
    const factor = entry.norm_scaling_factor;
    const sae = {
      repo: release.repo_id,
      path: filled(String(entry.path ?? entry.id), row),
      normScalingFactor: (Array.isArray(factor) ? factor[i] : factor) ?? null,
      overrides: {
        ...(normalize_activations === undefined ? {} : { normalize_activations }),
        ...(hook_name?.endsWith('hook_z') ? { reshape_activations: 'hook_z' } : {}),
        metadata: { model_name: release.model, ...metadata, ...(hook_name === undefined ? {} : { hook_name }) },
      },
    };
    return [id, sae];
  });
}

/** What the names in the braces stand for in one SAE. */
type Row = Readonly<Record<string, number | string>>;
const BRACES = /\{(\w+)\}/g;
const filled = (text: string, row: Row): string => text.replace(BRACES, (whole, key) => String(row[key] ?? whole));

/** One row an SAE. */
function rowsOf({ every, each }: Entry): Row[] {
  let rows: Row[] = [{}];
  for (const [name, values] of Object.entries(every ?? {})) {
    rows = rows.flatMap((row) => listOf(values).map((value) => ({ ...row, [name]: value })));
  }
  const columns = Object.entries(each ?? {});
  const length = columns[0]?.[1].length;
  if (length === undefined) return rows;
  return Array.from({ length }, (_, i) =>
    Object.fromEntries(columns.map(([name, values]) => [name, values.at(i) ?? ''])),
  );
}

const listOf = (values: Values): (number | string)[] =>
  Array.from({ length: values.length }, (_, i) => values.at(i) ?? '');

async function readFileOf(path: string): Promise<unknown> {
  try {
    // A warning, of a tag for example, says that the text does not mean what its writer thought.
    const document = parseDocument(await readTextOf(path));
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw problem;
    return document.toJS();
  } catch (error) {
    throw invalid(path, (error as Error).message.split('\n', 1)[0] as string, error);
  }
}

/** What is no regular file says nothing of its size: it is counted as it comes. */
async function readTextOf(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > LARGEST_BYTES) throw new Error(`it has more than ${LARGEST_BYTES} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function checked(value: unknown, path: string): z.output<typeof Releases> {
  const { success, data, error } = Releases.safeParse(value);
  if (!success) {
    const problems = error.issues.slice(0, PROBLEMS_TOLD).map((one) => `${one.path.join('.') || '.'}: ${one.message}`);
    throw invalid(path, problems.join('; '));
  }
  for (const [name, { saes }] of Object.entries(data)) {
    const problem = templateProblem(saes);
    if (problem !== undefined) throw invalid(path, `${name}, ${problem}`);
  }
  return data;
}

/** What is wrong with the templates of a release, where something is. Counted before they are filled. */
function templateProblem(saes: readonly Entry[]): string | undefined {
  let count = 0;
  for (const { id, every, each } of saes) {
    const lengths = new Set(Object.values(each ?? {}).map((values) => values.length));
    if (every !== undefined && each !== undefined) return `${id}: every and each exclude each other`;
    if (lengths.size > 1) return `${id}: the lists of each are of different lengths`;
    const own = Object.values(every ?? {}).reduce((product, values) => product * values.length, 1);
    count += each === undefined ? own : ([...lengths][0] ?? 1);
    if (count > MOST_SAES) return `${id}: with it the release has ${count} SAEs, more than ${MOST_SAES}`;
  }
  const ids = new Set<string>();
  for (const entry of saes) {
    const { id, path, hook_name } = entry;
    for (const row of rowsOf(entry)) {
      const own = filled(id, row);
      if (ids.has(own)) return `${own}: two SAEs have this id`;
      ids.add(own);
      const [open] = filled([id, path, hook_name].join(' '), row).match(BRACES) ?? [];
      if (open !== undefined) return `${id}: ${open} is in none of the lists of every and each`;
    }
  }
  return undefined;
}

const invalid = (path: string, reason: string, cause?: unknown): SaeLensError =>
  new SaeLensError('REGISTRY_INVALID', `Cannot read releases from "${path}": ${reason}`, {
    hint: 'a registry has releases by name, each with repo_id, model and saes: [{ id, path }]; see docs/pretrained.md',
    cause,
  });

/** Names that hold what was written, else the nearest in letters. */
function nearestNames(word: string, names: readonly string[]): string[] {
  const folded = word.toLowerCase();
  const holding = names.filter((name) => name.toLowerCase().includes(folded));
  if (holding.length > 0) return holding.slice(0, NAMES_TOLD);
  return byNearness(word, names).slice(0, NAMES_TOLD);
}
