import { ask } from '../../web/page/ask.ts';
import type { ListedRun, NewRows, RunDetails, RunSeries } from '../shown.ts';

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
  connection(isThere: boolean): void;
}

/** Follows these runs from where their series end; the browser reconnects by itself and says where it was. */
export function follow(series: Iterable<RunSeries>, heard: Heard): EventSource {
  const from = [...series].map(({ id, generation, offset }) => `${encodeURIComponent(id)}@${generation}@${offset}`);
  const source = new EventSource(`/api/events?${new URLSearchParams({ follow: from.join(',') })}`);
  const on = (name: string, take: (data: string) => void): void =>
    source.addEventListener(name, (event) => take((event as MessageEvent<string>).data));
  on('runs', (data) => heard.runs(JSON.parse(data)));
  on('rows', (data) => heard.rows(JSON.parse(data)));
  on('reload', (data) => heard.reload(JSON.parse(data).id));
  source.addEventListener('open', () => heard.connection(true));
  source.addEventListener('error', () => heard.connection(false));
  return source;
}
