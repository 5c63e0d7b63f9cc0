import { createHash } from 'node:crypto';
import { appendFileSync, copyFileSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Command, commandLineForTests } from '../command-line.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, start, run, shell, workerOf } = commandLineForTests();
const TIMES = 5;
const N_STEPS = 500;
/** A checkpoint every twenty steps, evaluations, and a scale that is estimated first. */
const RUN = [
  ...['--dataset_path', 'text.jsonl', '--training_tokens', String(128 * N_STEPS), '--n_checkpoints', '24'],
  ...['--wandb_log_frequency', '1', '--eval_every_n_wandb_logs', '50'],
  ...['--normalize_activations', 'expected_average_only_in'],
];
const place = (name: string, ...path: string[]): string => join(folder, 'runs', name, ...path);
const checkpoints = (name: string): string[] =>
  readdirSync(place(name, 'checkpoints'))
    .filter((one) => /^\d+$/.test(one))
    .sort((a, b) => Number(a) - Number(b));
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
/** Every row of metrics, without the memory of the process. */
const rows = (name: string): string[] =>
  readFileSync(place(name, 'metrics.jsonl'), 'utf8')
    .replace(/,"system\/\w+":[\d.e-]+/g, '')
    .trimEnd()
    .split('\n');

/** What a run has made. */
function made(name: string): Record<string, string> {
  const files = ['sae_weights.safetensors', 'sparsity.safetensors', 'cfg.json'];
  const hashes = files.map((file) => [file, sha256(readFileSync(place(name, 'output', file)))]);
  return { ...Object.fromEntries(hashes), metrics: sha256(rows(name).join()) };
}

let whole: Record<string, string>;
beforeAll(async () => {
  copyFileSync(join(tinyModel(), 'text.jsonl'), join(folder, 'text.jsonl'));
  const ended = await run(tinyRun(...RUN, '--name', 'whole'));
  expect(ended.code, ended.stderr).toBe(0);
  whole = made('whole');
  expect(rows('whole').filter((row) => row.includes('losses/overall_loss'))).toHaveLength(N_STEPS);
  expect(checkpoints('whole')).toHaveLength(24);
});

/** Ends it wherever it is, within so long after its first step. */
async function killSometime(command: Command, victim: 'worker' | 'orchestrator'): Promise<void> {
  await command.saw('loss ');
  await new Promise((next) => setTimeout(next, Math.random() * 600));
  const pid = victim === 'worker' ? workerOf(command) : command.pid;
  if (pid !== undefined && command.child.exitCode === null) process.kill(pid, 'SIGKILL');
  await command.ended;
}

it(`a run whose processes are killed ${TIMES} times, wherever they are, becomes the run that nobody disturbed`, async () => {
  let command = start(tinyRun(...RUN, '--name', 'killed'));
  for (let n = 0; n < TIMES && !existsSync(place('killed', 'output')); n++) {
    await killSometime(command, n % 2 === 0 ? 'orchestrator' : 'worker');
    command = start(['resume', 'killed']);
  }
  const { code, stderr } = await command.ended;
  expect(code, stderr).toBe(0);
  expect(made('killed')).toEqual(whole);
  const { sessions } = JSON.parse(readFileSync(place('killed', 'run.json'), 'utf8'));
  expect(sessions.length).toBeGreaterThan(2);
  expect(sessions.at(-1)).toMatchObject({ ended: 'done' });
});

describe('a run that was stopped by Ctrl-C', () => {
  const copies = ['damaged', 'changed', 'held', 'fed'];
  beforeAll(async () => {
    const command = start(tinyRun(...RUN, '--name', 'stopped'));
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

it('a new run goes on from a checkpoint of another one, with the same numbers; not with another SAE', async () => {
  const at = checkpoints('whole')[12] as string;
  const from = ['--resume_from_checkpoint', place('whole', 'checkpoints', at)];
  const other = await run(tinyRun(...RUN, ...from, '--name', 'other', '--k', '5'));
  expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('sae.k: 4 then, 5 now')]);
  const { code, stderr } = await run(tinyRun(...RUN, ...from, '--name', 'onward'));
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
