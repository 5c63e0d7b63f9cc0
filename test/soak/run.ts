/**
 * `npm run soak -- [--minutes 10]`: a training run of tiny steps, watched for what grows: memory, open files and threads of
 * both processes, files of the run. Then a metrics file of a million rows is written and opened. Ends with 1 when
 * something is not flat.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { localSae } from '../../src/artifacts/sae-publication.ts';
import { createLogger } from '../../src/log.ts';
import { JsonlSink } from '../../src/sinks/jsonl.ts';
import { testEnvironments } from '../environments.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';
import { endlessRun } from '../tiny-run.ts';
import { type Sample, sample, slope } from './process-watch.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const minutes = Number(values.minutes);
/** Caches fill and allocators settle first; the speed on the live line is that of the last two minutes. */
const WARM_UP_MINUTES = Math.min(2.5, minutes / 2);
const SAMPLE_MS = 1_000;
/** Below what the numbers of a row a step would take if they were kept; V8 itself wanders by half of it. */
const MOST_RSS_BYTES_A_MINUTE = 2 << 20;
const MOST_HANDLES = 2;
const ROWS = 1_000_000;

Object.assign(process.env, await testEnvironments(), { OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' });
const folder = mkdtempSync(join(tmpdir(), 'soak-'));
const failures: string[] = [];
try {
  await soak();
  await millionRows();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures) console.error(`not flat: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function soak(): Promise<void> {
  const often = ['--wandb_log_frequency', '1', '--feature_sampling_window', '50', '--eval_every_n_wandb_logs', '500'];
  const words = endlessRun('--name', 'soak', '--quiet', '--n_checkpoints', '20000', ...often);
  const child = spawn(process.execPath, [resolve('bin/sae-lens-ts.js'), ...words], { cwd: folder, stdio: 'inherit' });
  const exit = new Promise<number | null>((done) => child.once('exit', done));
  const run = join(folder, 'runs', 'soak');
  while (size(join(run, 'metrics.jsonl')) === 0) {
    if (child.exitCode !== null) throw new Error(`the run ended with ${child.exitCode}`);
    await sleep(200);
  }
  const pids = { orchestrator: child.pid as number, worker: childOf(child.pid as number) };
  const seen: Record<string, Sample[]> = { orchestrator: [], worker: [] };
  for (const began = performance.now(); (performance.now() - began) / 60_000 < minutes; await sleep(SAMPLE_MS)) {
    if (child.exitCode !== null) throw new Error(`the run ended with ${child.exitCode}`);
    const at = (performance.now() - began) / 60_000;
    for (const [name, pid] of Object.entries(pids)) seen[name]?.push(sample(pid, at));
  }
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  child.kill('SIGINT');
  const code = await exit;
  if (code !== 130) failures.push(`the run ended with ${code} when it was told to end`);
  const step = JSON.parse(lines.at(-1) as string).step as number;
  console.log(`${minutes} minutes · ${step} steps · ${lines.length} rows · ${readdirSync(run).sort().join(' ')}`);
  for (const [name, samples] of Object.entries(seen)) report(name, samples);
  const left = readdirSync(run, { recursive: true }).filter((name) => /\.(tmp|old)-/.test(String(name)));
  if (left.length > 0) failures.push(`temporary files are left: ${left.join(', ')}`);
  console.log(
    `log.jsonl ${size(join(run, 'log.jsonl'))} bytes · metrics.jsonl ${size(join(run, 'metrics.jsonl'))} bytes`,
  );
}

function report(name: string, samples: readonly Sample[]): void {
  const steady = samples.filter(({ minutes: at }) => at > WARM_UP_MINUTES);
  const growth = slope(steady, ({ rssBytes }) => rssBytes);
  const range = (of: (one: Sample) => number): [number, number] => [
    Math.min(...steady.map(of)),
    Math.max(...steady.map(of)),
  ];
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
  const [files, threads, rss] = [range((one) => one.files), range((one) => one.threads), range((one) => one.rssBytes)];
  console.log(
    `${name}: RSS ${mb(rss[0])} to ${mb(rss[1])} MB, ${growth < 0 ? '' : '+'}${mb(growth)} MB a minute · ` +
      `files ${files.join(' to ')} · threads ${threads.join(' to ')}`,
  );
  if (growth > MOST_RSS_BYTES_A_MINUTE) failures.push(`the memory of the ${name}: ${mb(growth)} MB a minute`);
  if (files[1] - files[0] > MOST_HANDLES) failures.push(`the open files of the ${name}: ${files.join(' to ')}`);
  if (threads[1] - threads[0] > MOST_HANDLES) failures.push(`the threads of the ${name}: ${threads.join(' to ')}`);
}

/** Opens a file as long as weeks of training make it, for what is read of it and for the next row. */
async function millionRows(): Promise<void> {
  const run = join(folder, 'million');
  writeSaeFolder(join(run, 'output'));
  const path = join(run, 'metrics.jsonl');
  for (const name of ['run.json', 'config.yaml']) await finished(createWriteStream(join(run, name)).end('{}'));
  const out = createWriteStream(path);
  for (let step = 0; step < ROWS; step += 1_000) {
    const rows = Array.from({ length: 1_000 }, (_, i) => {
      const row = { step: step + i, 'losses/overall_loss': 1 / (step + i + 1), 'metrics/l0': 4, 'metrics/ev': 0.9 };
      return `${JSON.stringify(row)}\n`;
    });
    if (!out.write(rows.join(''))) await once(out, 'drain');
  }
  await finished(out.end());
  const times: Record<string, number> = {};
  const timed = async (what: string, read: () => Promise<unknown>): Promise<void> => {
    const began = performance.now();
    await read();
    times[what] = performance.now() - began;
  };
  await timed('its last metrics', async () => {
    const { metrics } = await localSae(run);
    if (metrics.step !== ROWS - 1) throw new Error(`the last step is ${metrics.step}`);
  });
  await timed('the next row', async () => {
    const sink = new JsonlSink(path, createLogger({ level: 'silent' }));
    sink.consume({ kind: 'metrics', step: ROWS, row: { 'metrics/l0': 4 } });
    await sink.close();
  });
  const shown = Object.entries(times).map(([what, ms]) => `${what} ${ms.toFixed(0)} ms`);
  console.log(`metrics.jsonl of ${ROWS} rows, ${size(path)} bytes: ${shown.join(' · ')}`);
  for (const [what, ms] of Object.entries(times)) if (ms > 1_000) failures.push(`${what} of a long file take ${ms} ms`);
}

function size(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The worker: of the children of the orchestrator the one that runs it. */
function childOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  const worker = children.find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('pyworker'));
  if (worker === undefined) throw new Error('the run has no worker');
  return worker;
}
