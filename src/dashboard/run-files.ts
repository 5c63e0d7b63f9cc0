import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { openPlainFile, readPlainFile } from '../artifacts/plain-file.ts';
import { runHolder } from '../artifacts/run-lock.ts';
import { fileLayer } from '../config/index.ts';
import type { Checkpoint, Failure, Histogram, LogLine, RunFacts, RunState } from './shown.ts';

/** What a dashboard reads of one file at once, at most; JSON of a run is a few kB. */
const MOST_BYTES = 1 << 20;
/** Brackets within brackets of what is read; each level of them is a call of those that go through it. */
const DEEPEST = 100;
/** Lines of the log that are shown. */
const LOG_LINES = 300;
/** Histograms that are shown, at even distances. */
const HISTOGRAMS = 48;
/** Bytes of histograms that are read, from the end. */
const HISTOGRAM_BYTES = 16 << 20;

const text = z.string().catch('');
const number = z.number().nullable().catch(null);
/** What of run.json is shown; whatever else is there, or is not, another version wrote. */
const recordSchema = z.object({
  name: text,
  created: text,
  command: z.array(z.string()).catch([]),
  seed: number,
  cwd: z.string().nullable().catch(null),
  versions: z.record(z.string(), z.unknown()).catch({}),
  machine: z.record(z.string(), z.unknown()).catch({}),
  hashes: z.record(z.string(), z.unknown()).catch({}),
  sizes: z.record(z.string(), z.number()).catch({}),
  sessions: z.array(z.object({ ended: z.string().nullable().catch(null) })).catch([]),
});
type RunRecord = z.infer<typeof recordSchema>;

const logLine = z.object({ level: z.union([z.string(), z.number()]), time: z.string(), msg: z.string() });
const histogramLine = z.object({
  step: z.number(),
  sae: z.string().optional(),
  name: z.string(),
  counts: z.array(z.number()),
  edges: z.array(z.number()),
});
const failure = z.object({ code: z.string(), message: z.string(), hint: z.string().nullable().catch(null) });
const manifest = z.object({
  created: z.string(),
  n_training_samples: z.number(),
  files: z.record(z.string(), z.object({ size: z.number() })),
});

/** Reads run.json; null for what is none: without a name and a time no run wrote it. */
export async function readRecord(folder: string): Promise<RunRecord | null> {
  const { data } = recordSchema.safeParse(await readJson(join(folder, 'run.json')));
  return data === undefined || (data.name === '' && data.created === '') ? null : data;
}

/** What is known of a run without its metrics. */
export async function readFacts(folder: string, record: RunRecord): Promise<RunFacts> {
  const config = await readConfig(folder);
  const holder = await runHolder(folder);
  return {
    name: record.name,
    created: record.created,
    command: record.command,
    seed: record.seed,
    cwd: record.cwd,
    versions: flat(record.versions),
    machine: flat(record.machine),
    hashes: flat(record.hashes),
    sizes: record.sizes,
    config,
    state: holder === null ? await endedState(folder, record, config) : 'running',
    holder: holder === null ? null : { pid: holder.pid, host: holder.host, since: holder.since },
  };
}

async function endedState(folder: string, record: RunRecord, config: RunFacts['config']): Promise<RunState> {
  const ended = record.sessions.at(-1)?.ended;
  if (ended === 'done' || ended === 'data_ended') return 'done';
  if (ended === 'stopped' || ended === 'failed') return ended;
  const output = typeof config.output_path === 'string' ? config.output_path : join(folder, 'output');
  // Of several SAEs each has its own folder in there.
  const isThere = (path: string): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    );
  return record.sessions.length === 0 && (await isThere(output)) ? 'done' : 'interrupted';
}

/** Every option by its dotted key; none where config.yaml cannot be read. */
async function readConfig(folder: string): Promise<RunFacts['config']> {
  const path = join(folder, 'config.yaml');
  try {
    // `fileLayer` reads pipes too, which are waited for.
    return (await stat(path)).isFile() ? flat(fileLayer(path).value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** `{a: {b: 1}}` as `{'a.b': 1}`; lists as their JSON. */
export function flat(value: Record<string, unknown>, prefix = ''): RunFacts['config'] {
  const rows: Record<string, string | number | boolean | null> = {};
  for (const [key, one] of Object.entries(value)) {
    const isGroup = typeof one === 'object' && one !== null && !Array.isArray(one);
    if (isGroup && Object.keys(one).length > 0)
      Object.assign(rows, flat(one as Record<string, unknown>, `${prefix}${key}.`));
    else rows[`${prefix}${key}`] = typeof one === 'object' && one !== null ? JSON.stringify(one) : (one as string);
  }
  return rows;
}

/** What the last session failed with; null where that was not written down. */
export async function readFailure(folder: string): Promise<Failure | null> {
  return failure.safeParse(await readJson(join(folder, 'last-words.json'))).data ?? null;
}

/** Complete checkpoints, oldest first. */
export async function readCheckpoints(folder: string, { config, name, cwd }: RunFacts): Promise<Checkpoint[]> {
  const elsewhere = (place: unknown): string[] =>
    typeof place === 'string' && place !== '' ? [resolve(cwd ?? '.', place, name)] : [];
  const [own = join(folder, 'checkpoints')] = elsewhere(config.checkpoint_path);
  const found: Checkpoint[] = [];
  for (const path of await numbered(new Set([own, ...elsewhere(config.rescue_dir)]))) {
    const parts = await readdir(path, { withFileTypes: true }).catch(() => []);
    const folders = [path, ...parts.filter((part) => part.isDirectory()).map((part) => join(path, part.name))];
    const manifests = await Promise.all(folders.map((one) => readJson(join(one, 'manifest.json'))));
    const complete = manifests.map((one) => manifest.safeParse(one)).flatMap(({ data }) => (data ? [data] : []));
    const [first] = complete;
    if (first === undefined) continue;
    const bytes = complete.flatMap(({ files }) => Object.values(files)).reduce((sum, { size }) => sum + size, 0);
    found.push({ path, created: first.created, n_training_samples: first.n_training_samples, bytes });
  }
  return found.sort((a, b) => a.n_training_samples - b.n_training_samples);
}

/** Folders in these places that are called as a checkpoint is. */
async function numbered(places: ReadonlySet<string>): Promise<string[]> {
  const found: string[] = [];
  for (const place of places) {
    const entries = await readdir(place, { withFileTypes: true }).catch(() => []);
    const ours = entries.filter((entry) => entry.isDirectory() && /^(final_)?\d+$/.test(entry.name));
    found.push(...ours.map(({ name }) => join(place, name)));
  }
  return found;
}

const LEVELS: Record<string, string> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' };

/** The last lines of the log. */
export async function readLog(folder: string): Promise<LogLine[]> {
  const lines = await lastLines(join(folder, 'log.jsonl'), 128 << 10);
  return lines
    .flatMap((line) => parsed(logLine, line))
    .map(({ level, time, msg }) => ({ level: LEVELS[level] ?? String(level), time, message: msg }))
    .slice(-LOG_LINES);
}

/** Histograms of the densities of the latents, at even distances; what a resumed run has measured again counts once. */
export async function readHistograms(folder: string): Promise<Histogram[]> {
  const lines = await lastLines(join(folder, 'histograms.jsonl'), HISTOGRAM_BYTES);
  const bySae = new Map<string, Histogram[]>();
  for (const { sae = '', ...one } of lines.flatMap((line) => parsed(histogramLine, line))) {
    if (one.name !== 'plots/feature_density_line_chart') continue;
    const own = bySae.get(sae) ?? [];
    while ((own.at(-1)?.step ?? Number.NEGATIVE_INFINITY) >= one.step) own.pop();
    own.push({ ...one, sae });
    bySae.set(sae, own);
  }
  const found = [...bySae.values()].flat().sort((a, b) => a.step - b.step);
  const stride = Math.max(1, found.length / HISTOGRAMS);
  return found.filter((_, i) => Math.floor(i / stride) !== Math.floor((i - 1) / stride) || i === found.length - 1);
}

async function readJson(path: string): Promise<unknown> {
  const text = await readPlainFile(path, MOST_BYTES);
  try {
    return text === null || nestsDeeper(text) ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function nestsDeeper(text: string): boolean {
  let depth = 0;
  for (const character of text) {
    if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    if (depth > DEEPEST) return true;
  }
  return false;
}

async function lastLines(path: string, most: number): Promise<string[]> {
  const file = await openPlainFile(path);
  try {
    if (file === null) return [];
    const { size } = await file.stat();
    const from = Math.max(0, size - most);
    const buffer = Buffer.alloc(size - from);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
    return from === 0 ? lines : lines.slice(1);
  } catch {
    return [];
  } finally {
    await file?.close();
  }
}

function parsed<T>(schema: z.ZodType<T>, line: string): T[] {
  try {
    const { data } = schema.safeParse(JSON.parse(line));
    return data === undefined ? [] : [data];
  } catch {
    return [];
  }
}
