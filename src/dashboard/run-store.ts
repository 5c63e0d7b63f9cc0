import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { adviceFor } from './advice.ts';
import type { MetricRows } from './metric-rows.ts';
import { MetricsTail } from './metrics-tail.ts';
import { readCheckpoints, readFacts, readFailure, readHistograms, readLog, readRecord } from './run-files.ts';
import type { Series } from './series.ts';
import type { ListedRun, RunDetails, RunFacts, RunSeries } from './shown.ts';

/** How deep below the folder runs are looked for, and how many. */
const DEEPEST = 3;
const MOST_RUNS = 500;
/** Between two looks at the metrics of runs that somebody looks at. */
const LOOK_MS = 200;
/** Between two looks for runs, and at what they are doing. */
const LIST_MS = 2_000;
/** One look reads for at most so long; a long file is read in many. */
const READ_MS = 60;
/** Between two of these reads: others have their turn. */
const READING_PAUSE_MS = 15;
/** Points of a line that are sent; a chart has fewer pixels. */
const MOST_POINTS = 1_000;
/** A run that nobody has asked about for so long is let go. */
const FORGET_MS = 60_000;

interface Known {
  readonly folder: string;
  facts: RunFacts;
  /** Of the files that the facts were read from. */
  stamp: string;
  readonly tail: MetricsTail;
  askedAt: number;
}

/** The runs below a folder, whoever trains them: read from their files, as much as somebody looks at, and no more often than there is news. */
export class RunStore {
  readonly folder: string;
  readonly #runs = new Map<string, Known>();
  /** Grows with every change that somebody may want to see. */
  version = 0;
  #listVersion = 0;
  #listed = '';
  #waiting = new Set<() => void>();
  #looking: Promise<void> | null = null;
  #listedAt = Number.NEGATIVE_INFINITY;
  #finding: Promise<void> | null = null;
  readonly #told = new WeakMap<MetricsTail, string>();

  constructor(folder: string) {
    this.folder = resolve(folder);
  }

  /** Grows when the list is another one. */
  get listVersion(): number {
    return this.#listVersion;
  }

  /** All runs, the newest first. */
  async list(): Promise<ListedRun[]> {
    if (performance.now() - this.#listedAt > LIST_MS) await this.#look();
    return this.#list();
  }

  /** @throws SaeLensError USAGE for a run that there is not */
  async series(id: string, keys?: ReadonlySet<string>, from?: number, to?: number): Promise<RunSeries> {
    const { tail } = await this.#opened(id);
    const { rows, offset, isComplete } = tail.shown;
    const saes: Record<string, Record<string, { steps: number[]; values: number[] }>> = {};
    const whole = await this.#inFull(tail, rows, from, to);
    for (const [sae, series] of whole.bySae) {
      const wanted = [...series].filter(([key]) => keys === undefined || keys.has(key));
      saes[sae] = Object.fromEntries(wanted.map(([key, one]) => [key, one.points(from, to, MOST_POINTS)]));
    }
    return { id, generation: tail.generation, offset, is_complete: isComplete, rows: rows.rows, saes };
  }

  /** @throws SaeLensError USAGE for a run that there is not */
  async details(id: string): Promise<RunDetails> {
    const { folder, facts, tail } = await this.#opened(id);
    const { rows } = tail.shown;
    return {
      id,
      facts,
      failure: facts.state === 'failed' ? await readFailure(folder) : null,
      checkpoints: await readCheckpoints(folder, facts),
      histograms: await readHistograms(folder),
      log: await readLog(folder),
      advice: [...rows.bySae].flatMap(([sae, series]) => adviceFor(observed(facts, sae, rows, series), sae)),
    };
  }

  /** The same, when every row was read. */
  async completeDetails(id: string): Promise<RunDetails> {
    const { tail } = await this.#opened(id);
    await tail.advance(READ_MS);
    const { size } = tail;
    for (let before = -1; tail.offset < size && tail.offset !== before; ) {
      before = tail.offset;
      await tail.advance(READ_MS);
    }
    return this.details(id);
  }

  /** Where a run lies. @throws SaeLensError USAGE for a run that there is not */
  async folderOf(id: string): Promise<string> {
    return (await this.#opened(id)).folder;
  }

  /** The metrics of a run as they come, or null when it is not there any more. */
  follow(id: string): MetricsTail | null {
    const known = this.#runs.get(id);
    if (known === undefined) return null;
    known.askedAt = performance.now();
    return known.tail;
  }

  /** Resolves when `version` is another one, or after so long. Looks at the files only while somebody waits. */
  async changed(version: number, timeoutMs: number, gone: AbortSignal): Promise<void> {
    if (this.version !== version || gone.aborted) return;
    await new Promise<void>((done) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        gone.removeEventListener('abort', end);
        done();
      };
      const timer = setTimeout(end, timeoutMs);
      gone.addEventListener('abort', end);
      this.#waiting.add(end);
      this.#looking ??= this.#lookOn();
    });
  }

  async #lookOn(): Promise<void> {
    while (this.#waiting.size > 0) {
      const before = this.version;
      await this.#look().catch(() => {});
      if (this.version !== before) for (const wake of [...this.#waiting]) wake();
      const isReading = [...this.#runs.values()].some(({ tail }) => !tail.shown.isComplete);
      await new Promise((next) => setTimeout(next, isReading ? READING_PAUSE_MS : LOOK_MS));
    }
    this.#looking = null;
  }

  async #look(): Promise<void> {
    const isDue = performance.now() - this.#listedAt > LIST_MS;
    if (isDue) await this.#find();
    for (const { tail, askedAt } of this.#runs.values()) {
      if (performance.now() - askedAt > FORGET_MS) continue;
      await tail.advance(READ_MS);
      // Others may have read it meanwhile: what counts is what was told last.
      const { offset, isComplete } = tail.shown;
      const shown = `${tail.generation} ${offset} ${isComplete}`;
      if (this.#told.get(tail) === shown) continue;
      this.#told.set(tail, shown);
      this.version++;
    }
    if (!isDue) return;
    const listed = JSON.stringify(this.#list());
    if (listed === this.#listed) return;
    this.#listed = listed;
    this.#listVersion++;
    this.version++;
  }

  #find(): Promise<void> {
    this.#finding ??= this.#findOnce().finally(() => {
      this.#listedAt = performance.now();
      this.#finding = null;
    });
    return this.#finding;
  }

  async #findOnce(): Promise<void> {
    const found = await runsBelow(this.folder);
    for (const id of this.#runs.keys()) if (!found.has(id)) this.#runs.delete(id);
    for (const [id, folder] of found) {
      const known = this.#runs.get(id);
      const stamp = await stampOf(folder);
      if (known?.stamp === stamp && known.facts.state !== 'running') continue;
      const record = await readRecord(folder);
      if (record === null) continue;
      const facts = await readFacts(folder, record);
      const tail = known?.tail ?? new MetricsTail(join(folder, 'metrics.jsonl'));
      if (known === undefined) await tail.peek();
      this.#runs.set(id, { folder, facts, stamp, tail, askedAt: known?.askedAt ?? Number.NEGATIVE_INFINITY });
      // A run that goes on tells in the list how far it is.
      if (facts.state === 'running') await tail.advance(READ_MS);
    }
  }

  async #opened(id: string): Promise<Known> {
    if (!this.#runs.has(id)) await this.#find();
    const known = this.#runs.get(id);
    if (known === undefined) throw new SaeLensError('USAGE', `There is no run "${id}" in "${this.folder}"`);
    known.askedAt = performance.now();
    if (known.tail.offset === 0) await known.tail.advance(READ_MS);
    return known;
  }

  /** All rows of a stretch, where what is kept has fewer. */
  async #inFull(tail: MetricsTail, rows: MetricRows, from?: number, to?: number): Promise<MetricRows> {
    if (from === undefined || to === undefined || tail.rows !== rows) return rows;
    const isKept = [...rows.of().values()].every(({ rowsABucket }) => rowsABucket === 1);
    return isKept ? rows : ((await tail.between(from, to)) ?? rows);
  }

  #list(): ListedRun[] {
    const runs = [...this.#runs].map(([id, { facts, tail }]): ListedRun => {
      const { config, sizes } = facts;
      const { newest } = tail;
      const last = (key: string): number | null => newest.of().get(key)?.last ?? null;
      return {
        id,
        name: facts.name === '' ? id : facts.name,
        state: facts.state,
        created: facts.created,
        model: String(config.model_name ?? ''),
        hook: String(config.hook_name ?? ''),
        architecture: String(config['sae.architecture'] ?? ''),
        d_in: sizes.d_in ?? null,
        d_sae: sizes.d_sae ?? (typeof config['sae.d_sae'] === 'number' ? config['sae.d_sae'] : null),
        // The finished SAE is evaluated behind the last step.
        step: Math.min(newest.step + 1, sizes.total_steps ?? Number.POSITIVE_INFINITY),
        total_steps: sizes.total_steps ?? null,
        loss: last('losses/overall_loss'),
        l0: last('metrics/l0'),
        explained_variance: last('metrics/explained_variance'),
        evaluated: evaluated(newest),
      };
    });
    return runs.sort((a, b) => b.created.localeCompare(a.created));
  }
}

/** What the last evaluation found of each SAE. */
function evaluated({ bySae }: MetricRows): ListedRun['evaluated'] {
  return [...bySae].flatMap(([sae, series]) => {
    const last = (key: string): number | null => series.get(key)?.last ?? null;
    const l0 = last('sparsity/l0');
    if (l0 === null) return [];
    const explained_variance = last('reconstruction_quality/explained_variance');
    return [{ sae, l0, explained_variance, ce_loss_score: last('model_performance_preservation/ce_loss_score') }];
  });
}

function observed({ config, sizes }: RunFacts, sae: string, rows: MetricRows, series: ReadonlyMap<string, Series>) {
  const own = Object.entries(config).filter(([key]) => sae !== '' && key.startsWith(`saes.${sae}.`));
  const named = own.map(([key, value]) => {
    const option = key.slice(`saes.${sae}.`.length);
    return [`sae.${option}` in config ? `sae.${option}` : option, value] as const;
  });
  return {
    config: { ...config, ...Object.fromEntries(named) },
    dIn: sizes.d_in ?? null,
    dSae: sizes[sae === '' ? 'd_sae' : `${sae}/d_sae`] ?? null,
    totalSteps: sizes.total_steps ?? null,
    series,
    notFinite: { count: rows.notFinite, step: rows.firstNotFinite },
  };
}

/** Folders with a run.json by their way from here. Links are not followed, and runs have no runs inside. */
async function runsBelow(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const look = async (path: string, id: string, depth: number): Promise<void> => {
    const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
    if (entries.some((entry) => entry.name === 'run.json' && entry.isFile())) {
      if (found.size < MOST_RUNS) found.set(id === '' ? '.' : id, path);
      return;
    }
    if (depth === DEEPEST) return;
    for (const entry of entries.filter((one) => one.isDirectory()).reverse()) {
      await look(join(path, entry.name), id === '' ? entry.name : `${id}/${entry.name}`, depth + 1);
    }
  };
  await look(folder, '', 0);
  return found;
}

/** Another word when one of the files that tell about a run is another one. */
async function stampOf(folder: string): Promise<string> {
  const names = ['run.json', 'config.yaml', 'lock.json', 'metrics.jsonl', 'output'];
  const times = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        ({ mtimeMs, size }) => `${mtimeMs} ${size}`,
        () => '-',
      ),
    ),
  );
  return times.join('|');
}
