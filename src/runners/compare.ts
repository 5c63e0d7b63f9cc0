import { createReadStream, existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { readManifest } from '../artifacts/manifest.ts';
import { runFolderOf } from '../artifacts/run-folder.ts';
import { outputOf } from '../artifacts/run-saes.ts';
import { saesIn, WEIGHTS_NAME } from '../artifacts/sae-folder.ts';
import { readFacts, readRecord } from '../dashboard/run-files.ts';
import type { RunFacts } from '../dashboard/shown.ts';
import { SaeLensError } from '../errors.ts';

type Value = string | number | boolean | null;

/** A thing that two runs have another value for; undefined where a run does not have it. */
export interface Differing<T = Value> {
  readonly name: string;
  readonly values: readonly [T | undefined, T | undefined];
}

/** What two runs differ in. */
export interface RunComparison {
  readonly runs: readonly [string, string];
  /** Options, by their dotted names; places that only say where a run lies are left out. */
  readonly options: readonly Differing[];
  /** What decides the bits besides: versions, machine, data. */
  readonly provenance: readonly Differing[];
  /** The last value of every metric; of several SAEs with `<name>/` before. */
  readonly metrics: readonly Differing<number>[];
  /** Rows of metrics that both have. */
  readonly commonRows: number;
  /** Where their metrics part; null where they do not. Time and memory do not count. */
  readonly firstDifference: { readonly step: number; readonly metric: string } | null;
  /** Whether their finished SAEs have the same weights to the bit; null where one has none. */
  readonly sameWeights: boolean | null;
}

interface Row {
  readonly key: string;
  readonly step: number;
  readonly prefix: string;
  readonly values: Readonly<Record<string, number>>;
}

/** Says where a run is, not what it is. */
const PLACES = new Set(['output_path', 'checkpoint_path', 'rescue_dir', 'logger.run_name', 'logger.wandb_id']);
const NOT_COMPARED = /^(system\/|step$|sae$)/;

/**
 * Compares two runs by their folders; neither a model nor Python is needed.
 *
 * @param runs their names, or their folders
 * @throws SaeLensError USAGE when there is no such run, STORAGE when its record cannot be read
 */
export async function compareRuns(runs: readonly [string, string], runsFolder = 'runs'): Promise<RunComparison> {
  const folders = runs.map((run) => runFolderOf(run, runsFolder, 'compare')) as [string, string];
  const [a, b] = (await Promise.all(folders.map(factsOf))) as [RunFacts, RunFacts];
  const [rows, weights] = [await compareRows(folders), await Promise.all(folders.map(weightsOf))];
  return {
    runs: [basename(folders[0]), basename(folders[1])],
    options: differing(a.config, b.config).filter(({ name }) => !PLACES.has(name)),
    provenance: differing(
      { ...a.versions, ...named('machine', a.machine), ...named('hash', a.hashes) },
      { ...b.versions, ...named('machine', b.machine), ...named('hash', b.hashes) },
    ).filter(({ name }) => name !== 'hash of config'),
    ...rows,
    sameWeights: weights.some((one) => one === null) ? null : weights[0] === weights[1],
  };
}

async function factsOf(folder: string): Promise<RunFacts> {
  const record = await readRecord(folder);
  if (record !== null) return readFacts(folder, record);
  throw new SaeLensError('STORAGE', `Cannot compare "${folder}": its run.json cannot be read`, {
    hint: 'sae-lens-ts ls FOLDER lists the runs that are there',
  });
}

const named = (what: string, values: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${what} of ${name}`, value]));

function differing<T>(a: Readonly<Record<string, T>>, b: Readonly<Record<string, T>>): Differing<T>[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((name) => a[name] !== b[name])
    .map((name) => ({ name, values: [a[name], b[name]] }));
}

/** Goes through both files at once: weeks of rows are not held. */
async function compareRows(
  folders: readonly [string, string],
): Promise<Pick<RunComparison, 'metrics' | 'commonRows' | 'firstDifference'>> {
  const last: [Record<string, number>, Record<string, number>] = [{}, {}];
  const streams = folders.map((folder, which) => keeping(rowsOf(folder), last[which as 0 | 1])) as [
    AsyncGenerator<Row>,
    AsyncGenerator<Row>,
  ];
  let [commonRows, firstDifference]: [number, RunComparison['firstDifference']] = [0, null];
  let [a, b] = await Promise.all(streams.map((stream) => stream.next()));
  while (a?.value !== undefined || b?.value !== undefined) {
    const [ours, theirs]: (Row | undefined)[] = [a?.value, b?.value];
    if (ours !== undefined && theirs !== undefined && ours.key === theirs.key) {
      commonRows++;
      const metric = Object.keys(ours.values).find(
        (name) => name in theirs.values && ours.values[name] !== theirs.values[name],
      );
      if (metric !== undefined) firstDifference ??= { step: ours.step, metric };
    }
    const isBehind = (one: Row | undefined, other: Row | undefined): boolean =>
      one !== undefined && (other === undefined || one.step <= other.step);
    const [stepA, stepB] = [isBehind(ours, theirs), isBehind(theirs, ours)];
    if (stepA) a = await streams[0].next();
    if (stepB) b = await streams[1].next();
  }
  return { metrics: differing(last[0], last[1]), commonRows, firstDifference };
}

async function* keeping(rows: AsyncIterable<Row>, last: Record<string, number>): AsyncGenerator<Row> {
  for await (const row of rows) {
    for (const [name, value] of Object.entries(row.values)) last[`${row.prefix}${name}`] = value;
    yield row;
  }
}

/** A line that is cut off is of a run that was killed, and ends its rows. */
async function* rowsOf(folder: string): AsyncGenerator<Row> {
  const path = join(folder, 'metrics.jsonl');
  if (!existsSync(path)) return;
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    let row: Record<string, unknown>;
    try {
      row = Object(JSON.parse(line));
    } catch {
      return;
    }
    const { step, sae } = row;
    if (typeof step !== 'number') return;
    const values = Object.entries(row).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number' && !NOT_COMPARED.test(entry[0]),
    );
    const kind = values.some(([name]) => name.startsWith('losses/')) ? 'step' : (values[0]?.[0] ?? '');
    const prefix = typeof sae === 'string' ? `${sae}/` : '';
    yield { key: `${step} ${prefix} ${kind}`, step, prefix, values: Object.fromEntries(values) };
  }
}

/** The checksums of the finished weights; null where nothing is finished. */
async function weightsOf(folder: string): Promise<string | null> {
  const output = await outputOf(folder);
  if (output === null) return null;
  const several = await saesIn(output).catch(() => [] as string[]);
  const places = several.length > 0 ? several.sort().map((name) => join(output, name)) : [output];
  const manifests = await Promise.all(places.map((place) => readManifest(resolve(place)).catch(() => null)));
  const sums = manifests.map((manifest) => manifest?.files[WEIGHTS_NAME]?.sha256);
  return sums.includes(undefined) ? null : sums.join(' ');
}
