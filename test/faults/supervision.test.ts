import { copyFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { INTERRUPTED_RUN, runsBelow } from '../interrupted-run.ts';
import { orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { endlessRun, tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, marker, run, shell, start, workerOf } = commandLineForTests();
const { place, made } = runsBelow(folder);

beforeAll(() => copyFileSync(join(tinyModel(), 'text.jsonl'), join(folder, 'text.jsonl')));

describe('a run whose worker is lost', () => {
  it('goes on by itself from the newest checkpoint, and becomes the run that nobody disturbed', async () => {
    const whole = run(tinyRun(...INTERRUPTED_RUN, '--name', 'whole'));
    const command = start(tinyRun(...INTERRUPTED_RUN, '--name', 'lost', '--json'));
    await command.saw('"event":"checkpoint"');
    process.kill(workerOf(command), 'SIGKILL');
    const { code, stdout, stderr } = await command.ended;
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(
      /^warning: The worker was killed by SIGKILL.*: restart 1 in 1 s, from the newest checkpoint$/m,
    );
    expect(stderr).toMatch(/^Going on from .*checkpoints\/\d+, after step \d+$/m);
    expect(stdout.match(/"event":"finished"/g)).toHaveLength(1);
    expect((await whole).code).toBe(0);
    expect(made('lost')).toEqual(made('whole'));
    const { sessions } = JSON.parse(readFileSync(place('lost', 'run.json'), 'utf8'));
    expect(sessions.map(({ ended }: { ended: string }) => ended)).toEqual(['failed', 'done']);
    expect(existsSync(place('lost', 'last-words.json'))).toBe(false);
  });

  it('goes on by itself too when its worker stands still and is killed for it (W5)', async () => {
    const command = start(endlessRun('--name', 'stands', '--n_checkpoints', '1000000', '--json'));
    await command.saw('"event":"checkpoint"');
    process.kill(workerOf(command), 'SIGSTOP');
    await command.saw('restart 1 in 1 s, from the newest checkpoint');
    await command.saw('Going on from ');
    expect(command.stderr).toMatch(/^warning: The worker .*: restart 1/m);
    command.child.kill('SIGINT');
    expect((await command.ended).code).toBe(130);
    expect(await orphans(marker)).toEqual([]);
  });

  it('is given up when it gets no further, with what was seen last (W8)', async () => {
    const command = start(endlessRun('--name', 'loop', '--json', '--max_restarts', '1'));
    for (const nth of [1, 2]) {
      while (command.stdout.split('"event":"started"').length <= nth) await sleep(50);
      process.kill(workerOf(command), 'SIGKILL');
    }
    const { code, stdout } = await command.ended;
    expect(code).toBe(6);
    const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
    expect(error).toMatchObject({ code: 'WORKER_LOST', details: { signal: 'SIGKILL', restarts: 1 } });
    expect(error.message).toContain('It was restarted once and got no further');
    const lastWords = JSON.parse(readFileSync(place('loop', 'last-words.json'), 'utf8'));
    expect(lastWords).toMatchObject({ code: 'WORKER_LOST', details: { signal: 'SIGKILL', op: 'train' } });
    expect(await orphans(marker)).toEqual([]);
  });

  it('ends on Ctrl-C while it waits to be started again', async () => {
    const command = start(endlessRun('--name', 'waiting'));
    await command.saw('loss ');
    process.kill(workerOf(command), 'SIGKILL');
    await command.saw('restart 1 in 1 s');
    command.child.kill('SIGINT');
    const { code } = await command.ended;
    expect(code).toBe(130);
  });

  it('is not started again after an error that Python told: it would end the same way', async () => {
    const { code, stderr } = await run(tinyRun('--name', 'nan', '--lr', '1e6', '--training_tokens', '12800'));
    expect(code).toBe(5);
    expect(stderr).not.toContain('restart');
    const lastWords = JSON.parse(readFileSync(place('nan', 'last-words.json'), 'utf8'));
    expect(lastWords).toMatchObject({ code: 'NOT_FINITE', message: expect.stringContaining('training step') });
    expect(lastWords.details.traceback).toMatch(/Traceback|File/);
  });

  it.each(['-1', 'x', '1.5'])('refuses --max_restarts %s', async (word) => {
    const { code, stderr } = await run(tinyRun(`--max_restarts=${word}`));
    expect([code, stderr]).toEqual([2, expect.stringContaining('0 for none')]);
  });
});

/** A group of processes with so much memory; null where nobody may make one (cgroups(7), versions 1 and 2). */
function smallMachine(name: string, bytes: number): string | null {
  const [old, now] = ['/sys/fs/cgroup/memory', '/sys/fs/cgroup'];
  const isOld = existsSync(`${old}/memory.limit_in_bytes`);
  const group = join(isOld ? old : now, `sae-lens-ts-${name}-${process.pid}`);
  try {
    mkdirSync(group);
    writeFileSync(join(group, isOld ? 'memory.limit_in_bytes' : 'memory.max'), String(bytes));
    return group;
  } catch {
    return null;
  }
}

const [group, other] = [smallMachine('run', 1 << 30), smallMachine('other', 1 << 26)];
afterAll(() => {
  for (const one of [group, other]) if (one !== null) rmdirSync(one);
});

it.skipIf(group === null)(
  'a worker that the kernel kills for memory is started again once, and what to lower is named (needs the right to make a cgroup)',
  async () => {
    const words = endlessRun('--name', 'large', '--d_in', '32', '--d_sae', '2000000', '--json');
    const { code, stdout, stderr } = await shell(`echo $$ > ${group}/cgroup.procs; exec $CLI ${words.join(' ')}`);
    expect(code, stderr).toBe(6);
    expect(stderr.match(/restart \d/g)).toEqual(['restart 1']);
    const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
    expect(error).toMatchObject({
      code: 'WORKER_LOST',
      details: { signal: 'SIGKILL', outOfMemory: true, restarts: 1 },
    });
    expect(error.message).toContain('by the kernel, which was out of memory');
    expect(error.hint).toMatch(/lower train_batch_size_tokens.*\n.*the plan reckons with [\d.]+/);
  },
);

it.skipIf(other === null)(
  'a worker that somebody kills while the kernel kills others for memory is not taken for one of them (needs the right to make a cgroup)',
  async () => {
    const command = start(endlessRun('--name', 'bystander', '--json', '--max_restarts', '0'));
    await command.saw('"event":"started"');
    const hungry = `echo $$ > ${other}/cgroup.procs; exec ${pythonForTests()} -c 'bytearray(1 << 28)'`;
    expect((await shell(hungry)).signal).toBe('SIGKILL');
    process.kill(workerOf(command), 'SIGKILL');
    const { stdout } = await command.ended;
    const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
    expect(error.message).toContain('most likely out of memory');
    expect(error.details).not.toHaveProperty('outOfMemory');
  },
);
