import type { NewRows, RunSeries } from '../shown.ts';
import type { Line, Window } from './chart.ts';
import { Events, type Heard, runSeries } from './server.ts';
import { Strokes } from './strokes.ts';

const ZOOM_MS = 200;
const READING_MS = 1_500;
/** Rows of a line before it is loaded again, as its lowest and highest. */
const MOST_POINTS = 4_000;

type Points = { steps: number[]; values: number[] };

/** Without a prototype: a metric may be called as it likes, `constructor` too. */
const bare = <T>(from: Readonly<Record<string, T>> = {}): Record<string, T> => Object.assign(Object.create(null), from);
const asBare = (series: RunSeries): RunSeries => ({
  ...series,
  saes: bare(Object.fromEntries(Object.entries(series.saes).map(([sae, own]) => [sae, bare(own)]))),
});

/** The metrics of the runs that are shown, as they come. */
export class Metrics {
  readonly strokes = new Strokes();
  /** Steps that were zoomed into; null for all. */
  zoomed: Window | null = null;
  readonly #series = new Map<string, RunSeries>();
  /** The same in a stretch, with all its rows. */
  readonly #closer = new Map<string, RunSeries>();
  readonly #events: Events;
  readonly #changed: () => void;
  #shown: readonly string[] = [];
  #zooming: number | undefined;

  /** @param changed is called whenever there is something new to draw */
  constructor(heard: Pick<Heard, 'runs' | 'connection'>, changed: () => void) {
    this.#changed = changed;
    this.#events = new Events({
      runs: heard.runs,
      rows: (rows) => this.#take(rows),
      reload: (id) => void this.#reload([id]),
      connection: (problem) => {
        heard.connection(problem);
        if (problem === null) void this.#loadMissing();
      },
    });
    // What was only looked at here and there is loaded again, until all of it was read.
    window.setInterval(() => void this.#reload(this.reading), READING_MS);
  }

  /** Runs of which only some rows were read so far. */
  get reading(): string[] {
    return [...this.#series.values()].filter(({ is_complete }) => !is_complete).map(({ id }) => id);
  }

  /** Of these runs curves are shown. */
  async show(ids: readonly string[]): Promise<void> {
    this.#shown = ids;
    for (const id of this.#series.keys()) {
      if (ids.includes(id)) continue;
      this.#series.delete(id);
      this.strokes.free(id);
    }
    this.#changed();
    const missing = ids.filter((id) => !this.#series.has(id));
    if (missing.length > 0) await this.#reload(missing);
    else this.#events.follow(this.#series.values());
    await this.#loadCloser();
  }

  zoom(window_: Window | null): void {
    this.zoomed = window_;
    this.#closer.clear();
    this.#changed();
    window.clearTimeout(this.#zooming);
    this.#zooming = window.setTimeout(() => void this.#loadCloser(), ZOOM_MS);
  }

  /** The steps of all charts: they stand below each other. */
  get window(): Window {
    if (this.zoomed !== null) return this.zoomed;
    const lines = [...this.#series.values()].flatMap(({ saes }) =>
      Object.values(saes).flatMap((own) => Object.values(own)),
    );
    const [first, last] = [lines.map(({ steps }) => steps[0] ?? Infinity), lines.map(({ steps }) => steps.at(-1) ?? 0)];
    return lines.length === 0 ? [0, 1] : [Math.min(...first), Math.max(...last)];
  }

  get keys(): string[] {
    const lines = [...this.#series.values()].flatMap(({ saes }) =>
      Object.values(saes).flatMap((one) => Object.keys(one)),
    );
    return [...new Set(lines)].sort();
  }

  /** A metric of all runs that are shown; what several SAEs of a run share is one line. */
  linesOf(key: string, nameOf: (id: string) => string): Line[] {
    return this.#shown.flatMap((id) => {
      const saes = Object.entries(this.#series.get(id)?.saes ?? {}).filter(([, own]) => own[key] !== undefined);
      const isShared = key.startsWith('system/');
      return (isShared ? saes.slice(0, 1) : saes).map(([sae, own]): Line => {
        const points = (this.zoomed !== null && this.#closer.get(id)?.saes[sae]?.[key]) || (own[key] as Points);
        const name = sae === '' || isShared ? nameOf(id) : `${nameOf(id)} · ${sae}`;
        return { name, slot: this.strokes.of(id, sae), ...points };
      });
    });
  }

  async #reload(ids: readonly string[]): Promise<void> {
    const found = await Promise.all(ids.map((id) => runSeries(id).catch(() => null)));
    const here = found.filter((one) => one !== null && this.#shown.includes(one.id)) as RunSeries[];
    for (const one of here) this.#series.set(one.id, asBare(one));
    if (here.length === 0) return;
    this.#events.follow(
      this.#series.values(),
      here.map(({ id }) => id),
    );
    this.#changed();
  }

  /** What could not be loaded while the server was away. */
  #loadMissing = (): Promise<void> => this.#reload(this.#shown.filter((id) => !this.#series.has(id)));

  async #loadCloser(): Promise<void> {
    this.#closer.clear();
    if (this.zoomed !== null) {
      const [from, to] = this.zoomed;
      const found = await Promise.all(this.#shown.map((id) => runSeries(id, from, to).catch(() => null)));
      for (const one of found) if (one !== null) this.#closer.set(one.id, asBare(one));
    }
    this.#changed();
  }

  #take({ id, rows }: NewRows): void {
    const known = this.#series.get(id);
    if (known === undefined) return;
    let most = 0;
    for (const { step, sae = '', ...values } of rows) {
      if (typeof step !== 'number' || typeof sae !== 'string') continue;
      const saes = known.saes as Record<string, Record<string, Points>>;
      saes[sae] ??= bare();
      const own = saes[sae];
      for (const [key, value] of Object.entries(values)) {
        if (typeof value !== 'number') continue;
        own[key] ??= { steps: [], values: [] };
        const points = own[key];
        points.steps.push(step);
        points.values.push(value);
        most = Math.max(most, points.steps.length);
      }
    }
    if (most > MOST_POINTS) void this.#reload([id]);
    this.#changed();
  }
}
