/**
 * `npm run bench -- dashboard [paint|live|viewers|million]…`: how soon the dashboard shows what, in Chromium on this
 * machine, and what its viewers cost a training. Each part says what was asked of it. Other work on the machine disturbs
 * all of it: the load is said.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchChromium } from '../chromium.ts';
import { endlessRun, tinyRun } from '../tiny-run.ts';
import { LIVE_DELAYS, PAINTED, writeMillionRows } from './dashboard-page.ts';
import { cpuSeconds, descendants } from './process-cpu.ts';

const BIN = resolve('bin/sae-lens-ts.js');
const RUNS = 12;
const LOADS = 11;
const LIVE_ROWS = 25;
const VIEWERS = 10;
const WINDOWS = 20;
const WINDOW_MS = 3_000;
const MILLION = 1_000_000;
const COLD_LOADS = 9;

interface Measure {
  readonly what: string;
  readonly asked: string;
  readonly unit: string;
  readonly median: number;
  readonly range: readonly [number, number];
  readonly n: number;
}

interface Shown {
  readonly paint: number;
  readonly list: number;
  readonly curve: number;
}

function measure(what: string, asked: string, unit: string, values: readonly number[]): Measure {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle)] as number)) / 2;
  return { what, asked, unit, median, range: [sorted[0] as number, sorted.at(-1) as number], n: values.length };
}

/** The processes of one measurement, and the folder they work in. */
class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'bench-dashboard-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #started: ChildProcess[] = [];
  browser!: Browser;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = { ...env, OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' };
  }

  start(words: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [BIN, ...words], {
      cwd: this.folder,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#started.push(child);
    return child;
  }

  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGINT');
    await once(child, 'exit');
  }

  /** A finished run of ten steps, and copies of it by other names. */
  async makeRuns(count: number): Promise<void> {
    const [code] = await once(this.start(tinyRun('--name', 'run-0')), 'exit');
    if (code !== 0) throw new Error(`the tiny run ended with ${code}`);
    for (let i = 1; i < count; i++) {
      const path = join(this.folder, 'runs', `run-${i}`);
      cpSync(join(this.folder, 'runs/run-0'), path, { recursive: true });
      const record = JSON.parse(readFileSync(join(path, 'run.json'), 'utf8'));
      writeFileSync(join(path, 'run.json'), JSON.stringify({ ...record, name: `run-${i}` }));
    }
  }

  async serve(runs = 'runs'): Promise<{ server: ChildProcess; url: string }> {
    const server = this.start(['dashboard', runs, '--port', '0']);
    let said = '';
    for await (const text of server.stdout ?? []) {
      said += text;
      const url = /http:\S+token=\S+/.exec(said)?.[0];
      if (url !== undefined) return { server, url };
    }
    throw new Error('the dashboard did not begin');
  }

  /** A training that goes on, and the file of its metrics. */
  async train(name: string, ...flags: string[]): Promise<{ run: ChildProcess; metrics: string }> {
    const run = this.start(endlessRun('--name', name, ...flags));
    const metrics = join(this.folder, 'runs', name, 'metrics.jsonl');
    while (lastStep(metrics) < 0) await sleep(50);
    return { run, metrics };
  }

  async close(): Promise<void> {
    await this.browser?.close();
    for (const child of this.#started) await this.end(child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The page's Content-Security-Policy stays, so nothing is evaluated in it by itself. */
async function until(page: Page, condition: string): Promise<void> {
  while (!(await page.evaluate(condition))) await sleep(20);
}

/** When the page was painted first, listed the runs and drew a curve, in ms from navigation. */
async function load(context: BrowserContext, url: string): Promise<Shown> {
  const page = await context.newPage();
  await page.addInitScript(PAINTED);
  await page.goto(url);
  await until(page, 'window.benched.curve !== undefined && window.benched.paint !== undefined');
  const shown = (await page.evaluate('window.benched')) as Shown;
  await page.close();
  return shown;
}

async function paint(bench: Bench): Promise<Measure[]> {
  await bench.makeRuns(RUNS);
  const [cold, warm]: Shown[][] = [[], []];
  for (let i = 0; i < LOADS; i++) {
    const { server, url } = await bench.serve();
    const context = await bench.browser.newContext();
    cold?.push(await load(context, url));
    warm?.push(await load(context, url));
    await context.close();
    await bench.end(server);
  }
  const of = (name: string, loads: Shown[] = []): Measure[] => [
    measure(
      `${name}: first paint`,
      '< 300 ms',
      'ms',
      loads.map((one) => one.paint),
    ),
    measure(
      `${name}: runs listed`,
      '',
      'ms',
      loads.map((one) => one.list),
    ),
    measure(
      `${name}: first curve`,
      '',
      'ms',
      loads.map((one) => one.curve),
    ),
  ];
  return [...of(`new server, new browser profile, ${RUNS} runs`, cold), ...of('the same again', warm)];
}

/** From the moment a row is in the file until its value stands under the curve that was drawn with it. */
async function live(bench: Bench): Promise<Measure[]> {
  const { run, metrics } = await bench.train('live', '--wandb_log_frequency', '97');
  const { server, url } = await bench.serve();
  const page = await (await bench.browser.newContext()).newPage();
  await page.addInitScript(LIVE_DELAYS);
  await page.goto(url);
  await until(page, 'window.drawn.length > 2');
  const written = new Map<string, number>();
  let size = readFileSync(metrics).length;
  const began = Date.now();
  while (written.size < LIVE_ROWS && Date.now() - began < 60_000) {
    await sleep(2);
    const bytes = readFileSync(metrics);
    for (const line of bytes.subarray(size).toString().split('\n')) {
      const loss = /"losses\/overall_loss":([-\d.e]+)/.exec(line)?.[1];
      if (loss !== undefined) written.set(Number(Number(loss).toPrecision(4)).toString(), Date.now());
    }
    size = bytes.length;
  }
  await sleep(1_000);
  const drawn = (await page.evaluate('window.drawn')) as [text: string, at: number][];
  const delays = drawn.flatMap(([text, at]) => {
    const from = written.get(text);
    return from === undefined || at < from ? [] : [at - from];
  });
  await page.close();
  await bench.end(run);
  await bench.end(server);
  return [measure('row of a training in its file → drawn', '< 500 ms', 'ms', delays)];
}

function lastStep(metrics: string): number {
  try {
    const line = readFileSync(metrics, 'utf8')
      .trimEnd()
      .split('\n')
      .findLast((one) => one.includes('overall_loss'));
    return JSON.parse(line ?? '{"step":-1}').step;
  } catch {
    return -1;
  }
}

/** What ten followers of a run's rows take from it: windows of time without and with them, in turn. */
async function viewers(bench: Bench): Promise<Measure[]> {
  const { run, metrics } = await bench.train('watched');
  const { server, url } = await bench.serve();
  const { origin } = new URL(url);
  const cookie = (await fetch(url)).headers.get('set-cookie')?.split(';')[0] as string;
  const watch = async (): Promise<() => void> => {
    const { id, generation, offset } = (await (
      await fetch(`${origin}/api/series?id=watched`, { headers: { cookie } })
    ).json()) as { id: string; generation: number; offset: number };
    const request = get(`${origin}/api/events?follow=${id}@${generation}@${offset}`, { headers: { cookie } });
    request.on('error', () => {}).on('response', (answer) => answer.on('error', () => {}).resume());
    return () => request.destroy();
  };
  const training = [run.pid as number, ...descendants(run.pid as number)];
  const seen = { without: [] as number[][], with: [] as number[][] };
  for (let i = 0; i < WINDOWS; i++) {
    const isWatched = i % 2 === 1;
    const leave = await Promise.all(Array.from({ length: isWatched ? VIEWERS : 0 }, watch));
    await sleep(500);
    const now = (): number[] => [
      performance.now(),
      lastStep(metrics),
      training.reduce((sum, pid) => sum + cpuSeconds(pid), 0),
      cpuSeconds(server.pid as number),
    ];
    const before = now();
    await sleep(WINDOW_MS);
    const [ms, steps, cpu, served] = now().map((one, k) => one - (before[k] as number)) as [
      number,
      number,
      number,
      number,
    ];
    seen[isWatched ? 'with' : 'without'].push([ms / steps, (1000 * cpu) / steps, (100 * 1000 * served) / ms]);
    for (const end of leave) end();
  }
  await bench.end(run);
  await bench.end(server);
  const column = (rows: number[][], k: number): number[] => rows.map((row) => row[k] as number);
  const more = (k: number): number[] =>
    seen.with.map((row, i) => 100 * ((row[k] as number) / (seen.without[i]?.[k] as number) - 1));
  const many = `${VIEWERS} viewers`;
  return [
    measure('no viewers: CPU of the training a step', '', 'ms', column(seen.without, 1)),
    measure(`${many}: CPU of the training a step`, '', 'ms', column(seen.with, 1)),
    measure(`${many}: more of it than just before`, '< 1 %', '%', more(1)),
    measure(`${many}: more time a step, by the clock`, '< 1 %', '%', more(0)),
    measure(`${many}: CPU of the server, of one core`, '', '%', column(seen.with, 2)),
  ];
}

/** A run of a million rows that nothing has read, neither we nor the system. */
async function million(bench: Bench): Promise<Measure[]> {
  await bench.makeRuns(1);
  const folder = join(bench.folder, 'many');
  mkdirSync(folder);
  cpSync(join(bench.folder, 'runs/run-0'), join(folder, 'run-0'), { recursive: true });
  const metrics = join(folder, 'run-0', 'metrics.jsonl');
  const bytes = writeMillionRows(metrics, MILLION);
  const loads: Shown[] = [];
  for (let i = 0; i < COLD_LOADS; i++) {
    execFileSync('dd', [`of=${metrics}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'], { stdio: 'ignore' });
    const { server, url } = await bench.serve('many');
    const context = await bench.browser.newContext();
    loads.push(await load(context, url));
    await context.close();
    await bench.end(server);
  }
  const size = `${(bytes / 1e6).toFixed(0)} MB`;
  return [
    measure(
      `a run of a million rows, ${size}, unread: first curve`,
      '< 1000 ms',
      'ms',
      loads.map((one) => one.curve),
    ),
  ];
}

const PARTS = { paint, live, viewers, million };

/** Measures all, or the parts that are named. */
export async function dashboard(words: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  Object.assign(process.env, { SAE_LENS_TS_PYTHON: env.SAE_LENS_TS_PYTHON });
  const named = words.filter((word) => !word.startsWith('--'));
  const measures: Measure[] = [];
  const before = loadavg()[0] as number;
  for (const [name, part] of Object.entries(PARTS)) {
    if (named.length > 0 && !named.includes(name)) continue;
    const bench = new Bench(env);
    try {
      bench.browser = await launchChromium({ ...process.env } as Record<string, string>);
      measures.push(...(await part(bench)));
    } finally {
      await bench.close();
    }
  }
  const load = [before, loadavg()[0] as number] as const;
  if (words.includes('--json')) return console.log(JSON.stringify({ load, measures }, null, 2));
  const short = (value: number): string => Number(value.toPrecision(3)).toString();
  console.log(
    `load ${load.map((one) => one.toFixed(1)).join(' to ')}\n\n| what | asked | median (range) | n |\n| --- | --- | --- | --- |`,
  );
  for (const { what, asked, unit, median, range, n } of measures) {
    console.log(`| ${what} | ${asked} | ${short(median)} ${unit} (${range.map(short).join('–')}) | ${n} |`);
  }
}
