import { appendFileSync, copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { INTERRUPTED_RUN, N_STEPS, runsBelow } from '../interrupted-run.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, start, run, shell } = commandLineForTests();
const { place, checkpoints, rows, made } = runsBelow(folder);

let whole: Record<string, string>;
beforeAll(async () => {
  copyFileSync(join(tinyModel(), 'text.jsonl'), join(folder, 'text.jsonl'));
  const ended = await run(tinyRun(...INTERRUPTED_RUN, '--name', 'whole'));
  expect(ended.code, ended.stderr).toBe(0);
  whole = made('whole');
  expect(rows('whole').filter((row) => row.includes('losses/overall_loss'))).toHaveLength(N_STEPS);
  expect(checkpoints('whole')).toHaveLength(24);
});

describe('a run that was stopped by Ctrl-C', () => {
  const copies = ['damaged', 'changed', 'held', 'fed'];
  beforeAll(async () => {
    const command = start(tinyRun(...INTERRUPTED_RUN, '--name', 'stopped'));
    await command.saw('checkpoints/5');
    process.kill(command.pid, 'SIGINT');
    const { code, stderr } = await command.ended;
    expect(code, stderr).toBe(130);
    expect(stderr).toContain('sae-lens-ts resume runs/stopped\n');
    for (const copy of copies) cpSync(place('stopped'), place(copy), { recursive: true });
  });

  it.each([
    ['another configuration', 'changed', [], 'sae.k: 4 then, 5 now'],
    ['a program that fed it', 'fed', [], 'a program gave its activations'],
  ])('is refused: %s', async (_, name, flags, message) => {
    const config = readFileSync(place('changed', 'config.yaml'), 'utf8');
    writeFileSync(place('changed', 'config.yaml'), config.replace(/\bk: 4\b/, 'k: 5'));
    const record = JSON.parse(readFileSync(place('fed', 'run.json'), 'utf8'));
    writeFileSync(place('fed', 'run.json'), JSON.stringify({ ...record, fed: true }));
    const { code, stderr } = await run(['resume', name, ...flags]);
    expect(stderr).toContain('RESUME_REFUSED');
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });

  it('is refused from another folder, where its relative paths are others', async () => {
    const { code, stderr } = await shell('cd runs && $CLI resume stopped --runs_folder .');
    expect([code, stderr]).toEqual([2, expect.stringContaining(`dataset_path start from "${folder}"`)]);
  });

  it('is refused while another process has it', async () => {
    const holder = { id: 'x', pid: process.pid, processStart: null, bootId: null, host: hostname(), since: 'then' };
    writeFileSync(place('held', 'lock.json'), JSON.stringify(holder));
    const { code, stderr } = await run(['resume', 'held']);
    expect([code, stderr]).toEqual([7, expect.stringContaining(`process ${process.pid} on ${hostname()}`)]);
  });

  it('is refused when its data are others', async () => {
    const before = readFileSync(join(folder, 'text.jsonl'));
    appendFileSync(join(folder, 'text.jsonl'), '{"text": "one more"}\n');
    const { code, stderr } = await run(['resume', 'stopped']);
    writeFileSync(join(folder, 'text.jsonl'), before);
    expect([code, stderr]).toEqual([2, expect.stringContaining('the files of its dataset are others')]);
  });

  it('goes on to what it would have been; when it is finished there is no going on', async () => {
    const resumed = await run(['resume', 'runs/stopped']);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(made('stopped')).toEqual(whole);
    const again = await run(['resume', 'stopped']);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('it is finished')]);
  });

  it('passes over a checkpoint that is damaged, says so, and goes on from the one before', async () => {
    const [before, newest] = checkpoints('damaged').slice(-2) as [string, string];
    const path = place('damaged', 'checkpoints', newest, 'training_state.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    writeFileSync(path, bytes);
    const chosen = await run(['resume', 'damaged', '--from', newest]);
    expect([chosen.code, chosen.stderr]).toEqual([4, expect.stringContaining('(sha256)')]);
    const { code, stderr } = await run(['resume', 'damaged']);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('training_state.safetensors has other content than was written (sha256)');
    expect(stderr).toContain(`Going on from ${place('damaged', 'checkpoints', before)}, after step`);
    expect(made('damaged')).toEqual(whole);
  });
});

it('checkpoint_every keeps the newest of its own and every other; the run goes on from them', async () => {
  const flags = ['--n_checkpoints', '1', '--checkpoint_every', '6400', '--keep_checkpoints', '3'];
  const plan = await run(tinyRun(...INTERRUPTED_RUN, ...flags, '--name', 'recurring', '--dry-run'));
  expect(plan.stdout).toContain('checkpoints 1 and one every 6 400 tokens, the newest 3 kept');
  const command = start(tinyRun(...INTERRUPTED_RUN, ...flags, '--name', 'recurring'));
  await command.saw('checkpoints/38400');
  process.kill(command.pid, 'SIGKILL');
  await command.ended;
  const { code, stderr } = await run(['resume', 'recurring']);
  expect(code, stderr).toBe(0);
  expect(Number(/Going on from .*checkpoints\/(\d+)/.exec(stderr)?.[1])).toBeGreaterThanOrEqual(38_400);
  expect(checkpoints('recurring')).toEqual(['32128', '44800', '51200', '57600']);
  expect(made('recurring')).toEqual(whole);
});

it('a new run goes on from a checkpoint of another one, with the same numbers; not with another SAE', async () => {
  const at = checkpoints('whole')[12] as string;
  const from = ['--resume_from_checkpoint', place('whole', 'checkpoints', at)];
  const other = await run(tinyRun(...INTERRUPTED_RUN, ...from, '--name', 'other', '--k', '5'));
  expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('sae.k: 4 then, 5 now')]);
  const { code, stderr } = await run(tinyRun(...INTERRUPTED_RUN, ...from, '--name', 'onward'));
  expect(code, stderr).toBe(0);
  expect({ ...made('onward'), metrics: '' }).toEqual({ ...whole, metrics: '' });
  expect(rows('onward')).toEqual(rows('whole').filter((row) => JSON.parse(row).step >= Number(at) / 128));
});

it('a run that has no checkpoint of its own yet begins again, and says so', async () => {
  cpSync(place('whole'), place('early'), { recursive: true });
  const record = JSON.parse(readFileSync(place('early', 'run.json'), 'utf8'));
  const began = { ...record, created: new Date().toISOString(), sessions: [] };
  writeFileSync(place('early', 'run.json'), JSON.stringify(began));
  const { code, stderr } = await run(['resume', 'early']);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain('early has no checkpoint yet: it begins again');
  expect(made('early')).toEqual(whole);
});
