import { ask } from '../../web/page/ask.ts';
import { type Cursor, cursorsOf, wordsOf } from '../cursor.ts';
import type { ListedRun, NewRows, RunDetails, RunSeries } from '../shown.ts';

/** The server tells every ten seconds that it is there; a laptop that slept holds a connection that nobody is at the other end of. */
const SILENT_MS = 25_000;
const RETRY_MS = 2_000;
/** What the title of a hidden page says is so old at most. */
const HIDDEN_MS = 15_000;

export interface Listed {
  readonly folder: string;
  readonly runs: readonly ListedRun[];
}

export const runDetails = (id: string): Promise<RunDetails> => ask('/api/run', { parameters: { id } });

export const runSeries = (id: string, from?: number, to?: number): Promise<RunSeries> =>
  ask('/api/series', {
    parameters: { id, ...(from === undefined || to === undefined ? {} : { from: `${from}`, to: `${to}` }) },
  });

export const act = (id: string, what: string): Promise<unknown> =>
  ask(`/api/run/${what}`, { parameters: { id }, method: 'POST' });

/** What the server tells by itself. */
export interface Heard {
  runs(listed: Listed): void;
  rows(rows: NewRows): void;
  /** What is known of a run is no longer true, or far behind. */
  reload(id: string): void;
  /** Null while it is there; else what is wrong. */
  connection(problem: string | null): void;
}

/** What the server says of the runs that are followed, from where their series end; after a break it goes on from there. */
export class Events {
  readonly #heard: Heard;
  #source: EventSource | null = null;
  /** What the last event said of where we are. */
  #words = '';
  #heardAt = 0;
  #retrying: number | undefined;

  constructor(heard: Heard) {
    this.#heard = heard;
    window.setInterval(() => {
      // A clock that was set back has not heard anything either.
      if (this.#source?.readyState !== EventSource.CLOSED && Math.abs(Date.now() - this.#heardAt) > SILENT_MS)
        this.#open();
    }, RETRY_MS);
    document.addEventListener('visibilitychange', () => this.#open());
    window.setInterval(() => {
      if (document.hidden) ask<Listed>('/api/runs', {}).then(heard.runs, () => {});
    }, HIDDEN_MS);
  }

  /** Follows these from now on: those that were just loaded from their end, others from where they are. */
  follow(series: Iterable<RunSeries>, loaded: readonly string[] = []): void {
    const followed = new Map(cursorsOf(this.#words).map((cursor) => [cursor.id, cursor]));
    for (const id of loaded) followed.delete(id);
    this.#words = wordsOf([...series].map((one): Cursor => followed.get(one.id) ?? one));
    this.#open();
  }

  /** A browser has six connections to a server for all its tabs: one that nobody sees keeps none, and goes on from where it was. */
  #open(): void {
    window.clearTimeout(this.#retrying);
    this.#source?.close();
    if (document.hidden) return;
    const source = new EventSource(`/api/events?${new URLSearchParams({ follow: this.#words })}`);
    this.#source = source;
    this.#heardAt = Date.now();
    const on = (name: string, take: (data: string) => void): void =>
      source.addEventListener(name, ({ data, lastEventId }: MessageEvent<string>) => {
        this.#heardAt = Date.now();
        if (name === 'rows' || name === 'reload') this.#words = lastEventId;
        take(data);
      });
    on('runs', (data) => this.#heard.runs(JSON.parse(data)));
    on('rows', (data) => this.#heard.rows(JSON.parse(data)));
    on('reload', (data) => this.#heard.reload(JSON.parse(data).id));
    on('alive', () => {});
    source.addEventListener('open', () => this.#heard.connection(null));
    source.addEventListener('error', () => void this.#lost(source));
  }

  /** A browser comes back by itself unless it was refused, as by a server that was started anew; its words say what to do. */
  async #lost(source: EventSource): Promise<void> {
    this.#heardAt = Date.now();
    this.#heard.connection('connection lost; what is shown stays, and goes on when it is back');
    if (source.readyState !== EventSource.CLOSED) return;
    this.#retrying = window.setTimeout(() => this.#open(), RETRY_MS);
    const refusal = await ask('/api/runs', {}).catch((error: Error) =>
      error instanceof TypeError ? null : error.message,
    );
    if (typeof refusal === 'string') this.#heard.connection(refusal);
  }
}
