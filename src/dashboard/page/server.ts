import type { ListedRun, NewRows, RunDetails, RunSeries } from '../shown.ts';

export interface Listed {
  readonly folder: string;
  readonly runs: readonly ListedRun[];
}

const token = document.querySelector<HTMLMetaElement>('meta[name="request-token"]')?.content ?? '';

async function ask<T>(path: string, parameters: Readonly<Record<string, string>>, method = 'GET'): Promise<T> {
  const headers = { 'x-sae-lens-ts-request': token };
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`, { method, headers });
  const isJson = answer.headers.get('content-type')?.startsWith('application/json');
  const said = isJson ? await answer.json() : await answer.text();
  if (answer.ok) return said as T;
  const { message, hint } = isJson ? said.error : { message: said, hint: null };
  throw new Error(hint === null ? message : `${message} (${hint})`);
}

export const runDetails = (id: string): Promise<RunDetails> => ask('/api/run', { id });

export const runSeries = (id: string, from?: number, to?: number): Promise<RunSeries> =>
  ask('/api/series', { id, ...(from === undefined || to === undefined ? {} : { from: `${from}`, to: `${to}` }) });

export const act = (id: string, what: string): Promise<unknown> => ask(`/api/run/${what}`, { id }, 'POST');

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
