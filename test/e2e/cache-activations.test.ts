import { createHash, randomInt } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { CacheActivationsRunner } from '../../src/index.ts';
import { commandLineForTests, events } from '../command-line.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { orphans } from '../orphans.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, marker, run, start } = commandLineForTests();
const TOKENS = 131_072;
const text = join(folder, 'long.jsonl');
let options: Record<string, string | number | boolean>;

beforeAll(() => {
  const model = tinyModel();
  writeFileSync(text, readFileSync(join(model, 'text.jsonl'), 'utf8').repeat(40));
  options = {
    model_name: join(model, 'model'),
    model_class_name: 'AutoModelForCausalLM',
    hook_name: 'model.layers.0',
    d_in: 32,
    dataset_path: text,
    streaming: false,
    context_size: 32,
    training_tokens: TOKENS,
    model_batch_size: 8,
    buffer_size_gb: 0.001,
    device: 'cpu',
  };
});

const given = () => options as object as ConstructorParameters<typeof CacheActivationsRunner>[0];

function words(path: string, more: Record<string, string | number | boolean> = {}): string[] {
  const all = { ...options, new_cached_activations_path: path, ...more };
  return ['cache-activations', ...Object.entries(all).flatMap(([name, value]) => [`--${name}`, `${value}`])];
}

/** What lies in a cache, but for the file that names its place. */
function contents(path: string): Record<string, string> {
  const names = readdirSync(join(folder, path)).filter((name) => name !== 'cache_activations_runner_cfg.json');
  const hash = (name: string) => createHash('sha256').update(readFileSync(join(folder, path, name)));
  return Object.fromEntries(names.sort().map((name) => [name, hash(name).digest('hex')]));
}

it('says before what it takes on disk, and that is what it takes', async () => {
  const dry = await run([...words('whole'), '--dry-run', '--json']);
  const { plan, state, neededBytes } = JSON.parse(dry.stdout);
  expect({ code: dry.code, state }).toEqual({ code: 0, state: 'new' });
  expect(readdirSync(folder)).toEqual(['long.jsonl']);
  const made = await run([...words('whole'), '--json']);
  const said = events(made.stdout);
  expect(said.at(-1)).toMatchObject({ event: 'finished', ended: 'done', n_tokens: TOKENS, pushed: null });
  expect(said.find(({ event }) => event === 'started')).toMatchObject({
    total_bytes: plan.totalBytes,
    n_shards: plan.nFiles,
    n_sequences: plan.nSequences,
  });
  const { bytes } = said.at(-1) as { bytes: number };
  expect(Math.abs(bytes - neededBytes) / bytes).toBeLessThan(0.01);
  expect(made.stderr).toMatch(
    /131 072 tokens in \d+ files, 1[78]\.\d MB: .*whole\nnext: sae-lens-ts train .*whole …\n$/,
  );
  expect(readdirSync(folder).sort()).toEqual(['long.jsonl', 'whole']);
});

it('killed at any moment, then told to end, it goes on at the next shard and ends with the same bytes', async () => {
  const killed = start([...words('cut'), '--json']);
  await killed.saw('"event":"shard"');
  await sleep(randomInt(200));
  process.kill(killed.pid, 'SIGKILL');
  await killed.ended;
  await sleep(1_000);
  expect(await orphans(marker), 'processes left behind').toEqual([]);
  const names = readdirSync(join(folder, 'cut.partial')).filter((name) => name.endsWith('.arrow'));
  const told = start([...words('cut'), '--json']);
  await told.saw('"event":"shard"');
  process.kill(told.pid, 'SIGINT');
  const { code, stdout, stderr } = await told.ended;
  const [started] = events(stdout).filter(({ event }) => event === 'started');
  expect([names.length, names.length - 1]).toContain(started?.shards_done);
  expect({ code, last: events(stdout).at(-1)?.ended }).toEqual({ code: 130, last: 'stopped' });
  expect(stderr).toContain('finishing the shard (Ctrl-C again to stop now');
  expect(stderr).toContain('run the same command again to go on');
  expect((await run(words('cut'))).code).toBe(0);
  expect(contents('cut')).toEqual(contents('whole'));
  const again = await run(words('cut'));
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr).toContain('the cache is there already');
});

it('refuses to go on with other options and names them, and leaves what is not its own alone', async () => {
  const other = await run(words('whole', { seed: 7, dtype: 'float16' }));
  expect(other.code).toBe(7);
  expect(other.stderr).toContain('seed was 42 and is 7; dtype was "float32" and is "float16"');
  mkdirSync(join(folder, 'mine'));
  writeFileSync(join(folder, 'mine', 'thesis.txt'), 'words');
  const foreign = await run(words('mine'));
  expect(foreign).toMatchObject({ code: 7 });
  expect(foreign.stderr).toContain('thesis.txt is there, which is no cache of ours');
  expect(readFileSync(join(folder, 'mine', 'thesis.txt'), 'utf8')).toBe('words');
});

it('verify names a damaged shard, repair computes just that one, to the same bytes', async () => {
  expect((await run(['cache', 'verify', 'cut'])).stdout).toMatch(/^ok: all \d+ files are what was written\n$/);
  const name = readdirSync(join(folder, 'cut')).filter((file) => file.endsWith('.arrow'))[3] as string;
  const bytes = readFileSync(join(folder, 'cut', name));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 4;
  writeFileSync(join(folder, 'cut', name), bytes);
  const damaged = await run(['cache', 'verify', 'cut']);
  expect(damaged.code).toBe(7);
  expect(damaged.stderr).toContain(`${name}: other content than was written`);
  expect(damaged.stderr).toContain('cache repair');
  const repaired = await run(['cache', 'repair', 'cut', '--json']);
  expect(JSON.parse(repaired.stdout)).toEqual({ repaired: [name] });
  expect(contents('cut')).toEqual(contents('whole'));
  expect((await run(['cache', 'repair', 'cut'])).stdout).toContain('nothing to repair');
});

it('with a damaged shard a run ends and names it; with skip_bad_shards it goes past it, and what is lost is said and recorded', async () => {
  const [, name] = readdirSync(join(folder, 'cut')).filter((file) => file.endsWith('.arrow')) as [string, string];
  const whole = readFileSync(join(folder, 'cut', name));
  onTestFinished(() => writeFileSync(join(folder, 'cut', name), whole));
  writeFileSync(join(folder, 'cut', name), whole.subarray(0, -64));
  const cached = ['--use_cached_activations', 'true', '--cached_activations_path', 'cut', '--d_in', '32'];
  const flags = tinyRun(...cached, '--dataset_path', '', '--n_eval_batches', '0');
  const strict = await run([...flags, '--name', 'strict']);
  expect(strict.stderr).toMatch(new RegExp(`error STORAGE {2}.*${name}`));
  expect([strict.code, strict.stderr.includes('skip_bad_shards')]).toEqual([7, true]);
  const past = await run([...flags, '--name', 'past', '--skip-bad-shards']);
  expect(past.code, past.stderr).toBe(0);
  const [, lost] = /^warning: .*: (\d+) of its tokens .* are left out .*: .*arrow/m.exec(past.stderr) ?? [];
  const { sizes } = JSON.parse(readFileSync(join(folder, 'runs', 'past', 'run.json'), 'utf8'));
  expect(Number(lost)).toBeGreaterThan(0);
  expect(sizes.n_skipped_tokens).toBe(Number(lost));
});

it('info tells what a cache holds; where there is none, or no room, is said', async () => {
  const info = JSON.parse((await run(['cache', 'info', 'whole', '--json'])).stdout);
  expect(info).toMatchObject({ d_in: { 'model.layers.0': 32 }, context: 32, dtype: 'float32' });
  const nothing = await run(['cache', 'info', 'nowhere']);
  expect(nothing).toMatchObject({ code: 4 });
  const large = await run(words('large', { training_tokens: 1e15, buffer_size_gb: 1e6 }));
  expect(large.code).toBe(7);
  expect(large.stderr).toMatch(/The cache needs \d+\.\d\d GB at .*, where \d+\.\d\d GB are free/);
});

it('goes to the hub in one commit, with a card that says where the data is', async () => {
  const hub = await MockHub.start();
  onTestFinished(() => hub.close());
  for (const name of ['HF_HUB_OFFLINE', 'HUGGING_FACE_HUB_TOKEN']) vi.stubEnv(name, '');
  vi.stubEnv('HF_TOKEN', 'hf_planted0123456789abcdef');
  vi.stubEnv('HF_ENDPOINT', hub.url);
  onTestFinished(() => void vi.unstubAllEnvs());
  const sent: string[] = [];
  const place = { hf_repo_id: 'user/cache', hf_is_private_repo: true, hf_revision: 'layer-0' };
  const options = { ...given(), new_cached_activations_path: join(folder, 'whole'), ...place };
  const runner = new CacheActivationsRunner(options, { onUpload: ({ path }) => sent.push(path) });
  const { pushed } = await runner.run();
  const shards = readdirSync(join(folder, 'whole')).filter((name) => name.endsWith('.arrow'));
  const files = hub.files('datasets/user/cache', 'layer-0');
  expect(pushed?.url).toBe(`${hub.url}/datasets/user/cache`);
  expect([...files.keys()]).toEqual(expect.arrayContaining([...shards, 'manifest.json', 'state.json', 'README.md']));
  expect(files.get('README.md')?.toString()).toContain('path: data-*.arrow');
  expect(files.get(shards[0] as string)?.equals(readFileSync(join(folder, 'whole', shards[0] as string)))).toBe(true);
  expect(sent.length).toBeGreaterThan(0);
});

it('runs from a program too, with what it says as events', async () => {
  const kinds: string[] = [];
  const path = join(folder, 'program');
  const hook_name = ['model.layers.0', 'model.layers.1'];
  const runner = new CacheActivationsRunner(
    { ...given(), new_cached_activations_path: path, training_tokens: 4096, hook_name },
    { onEvent: ({ kind }) => kinds.push(kind) },
  );
  expect(await runner.progress()).toEqual({ state: 'new' });
  expect(await runner.run()).toMatchObject({ ended: 'done', path, nTokens: 4096, nSequences: 128 });
  expect(new Set(kinds)).toEqual(new Set(['stage', 'started', 'shard']));
  expect(await runner.progress()).toMatchObject({ state: 'done' });
});
