import { RUN_REQUESTS, requestOfRun } from '../artifacts/run-requests.ts';
import { SaeLensError } from '../errors.ts';
import { EventStreams, type SendEvent } from '../web/event-stream.ts';
import { type Context, type LocalSite, type SiteFile, serveLocalSite } from '../web/local-site.ts';
import { type Cursor, cursorsOf, wordsOf } from './cursor.ts';
import { RunStore } from './run-store.ts';

export interface DashboardOptions {
  /** Folder of run folders, or one of them. */
  readonly runsFolder: string;
  readonly page: string;
  readonly files: ReadonlyMap<string, SiteFile>;
  /** Goes on with a run that was interrupted; rejects when that cannot be begun. */
  readonly resume: (folder: string, cwd: string | null) => Promise<void>;
  readonly host?: string | undefined;
  readonly port: number;
  readonly strictPort?: boolean | undefined;
}

/** Rows that are sent at once. */
const ROWS_BYTES = 256 << 10;
/** A browser that is further behind than this loads the lines again. */
const FURTHEST_BEHIND_BYTES = 4 << 20;
/** Without news, a sign of life: so a browser that is gone is noticed. */
const QUIET_MS = 10_000;

/** Serves the page of all runs below a folder. */
export async function serveDashboard(options: DashboardOptions): Promise<LocalSite> {
  const store = new RunStore(options.runsFolder);
  const streams = new EventStreams();
  // Whoever opens the page finds the list read.
  void store.list().catch(() => {});
  return serveLocalSite({
    ...options,
    routes: (app) => {
      app.get('/api/runs', async (c) => c.json({ folder: store.folder, runs: await store.list() }));
      app.get('/api/run', async (c) => c.json(await store.details(idOf(c))));
      app.get('/api/series', async (c) => {
        const keys = c.req.query('keys');
        const wanted = keys === undefined ? undefined : new Set(keys.split(','));
        return c.json(await store.series(idOf(c), wanted, numberOf(c, 'from'), numberOf(c, 'to')));
      });
      app.get('/api/events', (c) => {
        const said = c.req.header('last-event-id') ?? c.req.query('follow') ?? '';
        return streams.answer(c, (send, gone) => tell(store, cursorsOf(said), send, gone));
      });
      for (const what of RUN_REQUESTS) {
        app.post(`/api/run/${what}`, async (c) => {
          await requestOfRun(await store.folderOf(idOf(c)), what);
          return c.json({ asked: what });
        });
      }
      app.post('/api/run/resume', async (c) => {
        const id = idOf(c);
        const { facts } = await store.details(id);
        await options.resume(await store.folderOf(id), facts.cwd);
        return c.json({ asked: 'resume' });
      });
    },
  });
}

/**
 * Tells a browser what changes: the list of runs, and the rows of those that it follows. Where it is, in bytes of each
 * file, is the id of every event: after a break it says the last one, and nothing is kept for it meanwhile.
 */
async function tell(store: RunStore, cursors: Cursor[], send: SendEvent, gone: AbortSignal): Promise<void> {
  let [followed, listVersion] = [cursors, -1];
  while (!gone.aborted) {
    const { version } = store;
    if (store.listVersion !== listVersion || listVersion === -1) {
      const runs = await store.list();
      listVersion = store.listVersion;
      await send({ event: 'runs', data: JSON.stringify({ folder: store.folder, runs }), id: wordsOf(followed) });
    }
    let hasTold = false;
    for (const cursor of followed) {
      hasTold ||= await tellRows(store, cursor, (next, event, data) => {
        followed = followed.flatMap((one) => (one.id !== cursor.id ? [one] : next === null ? [] : [next]));
        return send({ event, data, id: wordsOf(followed) });
      });
    }
    // There may be more of it.
    if (hasTold) continue;
    await store.changed(version, QUIET_MS, gone);
    if (store.version === version) await send({ event: 'alive', data: '' });
  }
}

/** Whether something was told. A file that is another one, or far ahead, is loaded again by the page. */
async function tellRows(
  store: RunStore,
  { id, generation, offset }: Cursor,
  say: (next: Cursor | null, event: string, data: string) => Promise<void>,
): Promise<boolean> {
  const tail = store.follow(id);
  const reload = (): Promise<void> => say(null, 'reload', JSON.stringify({ id }));
  if (tail === null || tail.generation !== generation || tail.size < offset) return reload().then(() => true);
  const end = tail.shown.offset;
  if (end <= offset) return false;
  if (end - offset > FURTHEST_BEHIND_BYTES) return reload().then(() => true);
  const found = await tail.linesFrom(offset, Math.min(ROWS_BYTES, end - offset));
  if (found.offset === offset) return false;
  await say(
    { id, generation, offset: found.offset },
    'rows',
    `{"id":${JSON.stringify(id)},"rows":[${found.lines.join(',')}]}`,
  );
  return true;
}

/** Only looked up among the runs that there are: never a path. */
function idOf(c: Context): string {
  const id = c.req.query('id');
  if (id === undefined) throw new SaeLensError('USAGE', 'The request names no run: ?id=');
  return id;
}

function numberOf(c: Context, name: string): number | undefined {
  const word = c.req.query(name);
  const value = Number(word);
  if (word === undefined) return undefined;
  if (!Number.isFinite(value)) throw new SaeLensError('USAGE', `"${word}" is no step: ${name}`);
  return value;
}
