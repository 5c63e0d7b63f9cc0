/**
 * `npm run bench -- cost [flags of train]`: what checkpoints, metrics and supervision take of the training of the demo
 * preset, by its own `--profile`: the seconds that the loop waits for a checkpoint, whole state included, against one a
 * minute; and the time of metrics, events and everything else that is no step.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cpuSeconds } from './process-cpu.ts';

const STEPS = 60;
const CHECKPOINTS = 5;
const MINUTE_S = 60;

interface Profiled {
  n_steps: number;
  parts: { part: string; seconds: number; calls: number }[];
}

/** Of the checkpoints of a run the seconds each took to write, as its log tells. */
function secondsWritten(runs: string): number[] {
  const [run = ''] = readdirSync(runs);
  const log = readFileSync(join(runs, run, 'log.jsonl'), 'utf8');
  return [...log.matchAll(/checkpoint \d+: .* written in ([\d.]+) s/g)].map(([, seconds]) => Number(seconds));
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** Trains with the flags added; prints the table. */
export async function cost(flags: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'cost-'));
  const before = loadavg()[0] as number;
  const own = [
    '--training_tokens',
    String(STEPS * 512),
    '--n_checkpoints',
    String(CHECKPOINTS),
    '--n_eval_batches',
    '0',
    '--lr_decay_steps',
    '0',
  ];
  const words = ['train', '--preset', 'demo', '--profile', 'true', '--json', '--runs_folder', folder, ...own, ...flags];
  const child = spawn(process.execPath, ['bin/sae-lens-ts.js', ...words], {
    env: { ...env, OMP_NUM_THREADS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let profile: Profiled | undefined;
  let [atStart, atEnd, size] = [0, 0, 0];
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line);
    if (event.error !== undefined) throw new Error(event.error.message);
    if (event.event === 'started') atStart = cpuSeconds(child.pid as number);
    if (event.event === 'profile') [profile, atEnd] = [event, cpuSeconds(child.pid as number)];
    if (event.event === 'checkpoint' && !event.final) size = sizeOf(event.path);
  }
  const written = secondsWritten(folder);
  rmSync(folder, { recursive: true, force: true });
  if (profile === undefined) throw new Error('the run told no profile');
  const seconds = (...names: string[]): number =>
    profile.parts.filter(({ part }) => names.includes(part)).reduce((sum, one) => sum + one.seconds, 0);
  const all = profile.parts.reduce((sum, one) => sum + one.seconds, 0) - seconds('checkpoints');
  const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(2)} %`;
  const calls = profile.parts.find(({ part }) => part === 'checkpoints')?.calls ?? 0;
  const one = seconds('checkpoints') / calls;
  const load = `load ${before.toFixed(1)} to ${(loadavg()[0] as number).toFixed(1)}`;
  console.log(`demo preset ${flags.join(' ')}; ${profile.n_steps} steps, 1 thread, ${load}\n`);
  console.log('| what | time | share |\n| --- | --- | --- |');
  console.log(`| a step | ${((1000 * all) / profile.n_steps).toFixed(0)} ms | |`);
  console.log(
    `| a checkpoint, ${(size / 1e6).toFixed(0)} MB, loop waits | ${(1000 * one).toFixed(0)} ms | ${share(one, MINUTE_S)} with one a minute |`,
  );
  const writing = written.reduce((sum, one) => sum + one, 0) / written.length;
  console.log(`| its writing, most of it beside training | ${(1000 * writing).toFixed(0)} ms | |`);
  const told = seconds('metrics', 'other');
  console.log(
    `| metrics, events, supervision, a step | ${((1000 * told) / profile.n_steps).toFixed(2)} ms | ${share(told, all)} |`,
  );
  const orchestrator = atEnd - atStart;
  console.log(
    `| CPU of the orchestrator, a step, checkpoints hashed included | ${((1000 * orchestrator) / profile.n_steps).toFixed(1)} ms | |`,
  );
}
