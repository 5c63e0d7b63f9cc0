import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type DashboardOptions, serveDashboard } from '../dashboard/dashboard.ts';
import { SaeLensError } from '../errors.ts';
import type { LocalSite } from '../web/local-site.ts';
import { packageRoot } from '../worker/package-root.ts';
import { onStopSignal } from './stop-on-signal.ts';

/** A resumed run that fails before this, does so because of what it was told. */
const RESUME_BEGINS_MS = 4_000;
const DEFAULT_PORT = 6270;
/** Whoever trains on every core comes first; with twice as much of it the list of runs would be seconds late. */
const NICENESS = 5;
/** All that the page loads. */
const SCRIPT = '/dashboard.js';

export interface ServeOptions extends Pick<DashboardOptions, 'host' | 'strictPort'> {
  readonly port?: number | undefined;
}

/** Serves the dashboard of the runs below a folder, until `close`. */
export async function startDashboard(runsFolder: string, { host, port, strictPort }: ServeOptions): Promise<LocalSite> {
  const place = join(packageRoot(), 'dist', 'page');
  const script = { type: 'text/javascript; charset=utf-8', bytes: new Uint8Array(await readFile(join(place, SCRIPT))) };
  const page = await withStyles(await readFile(join(place, 'index.html'), 'utf8'), place);
  const chosen = { host, port: port ?? DEFAULT_PORT, strictPort };
  return serveDashboard({ runsFolder, page, files: new Map([[SCRIPT, script]]), resume: resumeRun, ...chosen });
}

/** The page with its styles in it: it is painted when it is there, not when three more answers are. */
async function withStyles(page: string, place: string): Promise<string> {
  const links = [...page.matchAll(/<link rel="stylesheet" href="(.*?)" \/>/g)];
  const styles = await Promise.all(links.map(([, path = '']) => readFile(join(place, path), 'utf8')));
  return links.reduce((whole, [link], i) => whole.replace(link, () => `<style>${styles[i]}</style>`), page);
}

/**
 * Serves the dashboard in this process until it is told to end; behind `train`, until that is gone, which ends our stdin.
 * It gives way to whoever trains.
 */
export async function dashboardInTerminal(
  runsFolder: string,
  options: ServeOptions & { readonly untilStdinEnds?: boolean },
  say: (url: string) => void,
): Promise<void> {
  setPriority(NICENESS);
  const site = await startDashboard(runsFolder, options);
  let unheard = (): void => {};
  const told = new Promise<void>((end) => {
    unheard = onStopSignal(() => end());
    if (options.untilStdinEnds)
      process.stdin
        .on('end', end)
        .on('error', () => end())
        .resume();
  });
  say(site.url);
  await told;
  unheard();
  await site.close();
}

/** A dashboard in a process of its own: training neither waits for it nor fails with it (faults D7). */
export interface DashboardProcess {
  readonly url: string;
  close(): void;
}

/** @throws SaeLensError with the words of the process, when it does not begin */
export async function spawnDashboard(runsFolder: string): Promise<DashboardProcess> {
  const child = spawn(process.execPath, [commandLine(), 'dashboard', runsFolder, '--until_stdin_ends'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Ctrl-C reaches all of a group at once; the page is to show the end of the run, too.
    detached: true,
  });
  child.stdin.on('error', () => {});
  let [said, complained] = ['', ''];
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complained = `${complained}${text}`.slice(-2_000);
  });
  const url = await new Promise<string>((done, fail) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const found = /http:\S+/.exec(said)?.[0];
      if (found !== undefined && said.includes('\n')) done(found);
    });
    child.once('error', fail);
    child.once('exit', () => fail(new SaeLensError('BUG', `The dashboard did not begin: ${complained.trim()}`)));
  });
  for (const out of [child, child.stdin, child.stdout, child.stderr]) (out as { unref?: () => void }).unref?.();
  return { url, close: () => child.stdin.end() };
}

/** Goes on with a run in a process of its own, which outlives the dashboard; what it says is in the run's folder. */
async function resumeRun(folder: string, cwd: string | null): Promise<void> {
  const said = join(folder, 'resume.out');
  const out = openSync(said, 'w');
  const words = [commandLine(), 'resume', basename(folder), '--runs_folder', dirname(folder)];
  const at = cwd !== null && existsSync(cwd) ? cwd : process.cwd();
  const child = spawn(process.execPath, words, { cwd: at, detached: true, stdio: ['ignore', out, out] });
  child.unref();
  const begun = new Promise<null>((done) => setTimeout(() => done(null), RESUME_BEGINS_MS).unref());
  const ended = await Promise.race([once(child, 'exit'), begun]);
  if (ended === null || ended[0] === 0) return;
  throw new SaeLensError('USAGE', `Cannot resume "${folder}": ${readFileSync(said, 'utf8').trim().slice(-1_000)}`);
}

const commandLine = (): string => join(packageRoot(), 'bin', 'sae-lens-ts.js');
