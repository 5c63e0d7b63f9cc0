/** `npm run kill-loop -- --times 500 [--seed N]` runs this file alone, with more kills than `npm test` has time for. */
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { type Command, commandLineForTests } from '../command-line.ts';
import { INTERRUPTED_RUN, runsBelow } from '../interrupted-run.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const TIMES = Number(process.env.SAE_LENS_TS_KILLS ?? 50);
const SEED = Number(process.env.SAE_LENS_TS_KILLS_SEED ?? Date.now() % 1_000_000);
/** Side by side: a start is mostly one core's work. */
const CHAINS = 2;
/** From the start of a process to its first steps; and how long some of its steps take. */
const START_MS = 5_000;
const STEPS_MS = 900;
const ONE_KILL_MS = 30_000;

const { folder, start, run, workerOf } = commandLineForTests();
const { place, checkpoints, made } = runsBelow(folder);
const words = (name: string): string[] => tinyRun(...INTERRUPTED_RUN, '--json', '--max_restarts', '0', '--name', name);

let whole: Record<string, string>;
beforeAll(async () => {
  copyFileSync(join(tinyModel(), 'text.jsonl'), join(folder, 'text.jsonl'));
  const ended = await run(words('whole'));
  expect(ended.code, ended.stderr).toBe(0);
  whole = made('whole');
});

/** The same numbers from the same seed (Park and Miller's generator). */
function* random(seed: number): Generator<number, never> {
  for (let state = seed + 1; ; ) {
    state = (state * 48_271) % 0x7fff_ffff;
    yield state / 0x7fff_ffff;
  }
}

/** Kills one of its processes at a moment that is drawn. @returns false when it had ended before */
async function killSometime(command: Command, draw: () => number): Promise<boolean> {
  const isEarly = draw() < 0.3;
  const [moment, isWorker] = [draw(), draw() < 0.5];
  if (isEarly) await Promise.race([command.ended, sleep(moment * START_MS)]);
  else {
    const steps = command.saw('"event":"metrics"').then(() => sleep(moment * STEPS_MS));
    await Promise.race([command.ended, steps.catch(() => {})]);
  }
  if (command.child.exitCode !== null) return false;
  process.kill((isWorker ? workerOf(command) : undefined) ?? command.pid, 'SIGKILL');
  return true;
}

/** Samples at the last checkpoint that a command said it had. */
const lastTold = (stdout: string): number => Number([...stdout.matchAll(/"path":"[^"]*\/(\d+)"/g)].at(-1)?.[1] ?? 0);

/** Killed between its last word on the disk and its exit it has nothing to go on with. */
const isFinished = (name: string): boolean => {
  const record = place(name, 'run.json');
  return existsSync(record) && JSON.parse(readFileSync(record, 'utf8')).sessions.at(-1).ended === 'done';
};

/** Runs that are killed and resumed until they are done, one after the other. */
async function chain(number: number, kills: number): Promise<string[]> {
  const numbers = random(SEED + number);
  const finished: string[] = [];
  for (let left = kills; left > 0; ) {
    const name = `killed-${number}-${finished.length}`;
    let command = start(words(name));
    for (let told = 0; ; ) {
      if (left > 0 && (await killSometime(command, () => numbers.next().value))) left--;
      const { code, stdout, stderr } = await command.ended;
      if (code === 0 || isFinished(name)) break;
      expect([6, null], `${stdout.split('\n').slice(-5).join('\n')}\n${stderr}`).toContain(code);
      told = Math.max(told, lastTold(stdout));
      const kept = existsSync(place(name, 'checkpoints')) ? checkpoints(name).map(Number) : [];
      expect(Math.max(0, ...kept), 'nothing is lost that was said to be kept').toBeGreaterThanOrEqual(told);
      const began = existsSync(place(name, 'run.json'));
      command = start(began ? ['resume', name, '--json', '--max_restarts', '0'] : words(name));
    }
    expect(made(name), name).toEqual(whole);
    for (const one of checkpoints(name)) await verifyFolder(place(name, 'checkpoints', one));
    const { sessions } = JSON.parse(readFileSync(place(name, 'run.json'), 'utf8'));
    expect(sessions.at(-1)).toMatchObject({ ended: 'done' });
    finished.push(name);
  }
  return finished;
}

it(`runs whose processes are killed ${TIMES} times at any moment become the run that nobody disturbed`, {
  timeout: TIMES * ONE_KILL_MS,
}, async () => {
  console.log(`seed ${SEED}`);
  const kills = Array.from({ length: CHAINS }, (_, n) => Math.floor((TIMES + n) / CHAINS));
  const finished = await Promise.all(kills.map((times, n) => chain(n, times)));
  console.log(`${TIMES} kills, ${finished.flat().length} runs finished`);
});
