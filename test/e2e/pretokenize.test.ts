import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PretokenizeRunner, PretokenizeRunnerConfig } from '../../src/index.ts';
import { Worker } from '../../src/worker/worker.ts';
import { commandLineForTests, events } from '../command-line.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { MARKER } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const TOKEN = 'hf_planted0123456789abcdef';
const { folder, marker, run, start } = commandLineForTests();
const model = join(tinyModel(), 'model');
/** Enough to be interrupted. */
const long = join(folder, 'long.jsonl');
const NOUNS = ['cat', 'river', 'queen', 'number', 'day'];
writeFileSync(
  long,
  Array.from(
    { length: 60_000 },
    (_, i) => `{"text": "The ${NOUNS[i % 5]} counts number ${i % 40} of the day."}\n`,
  ).join(''),
);

const flags = (out: string, ...more: string[]): string[] => [
  ...['pretokenize', '--tokenizer_name', model, '--dataset_path', join(tinyModel(), 'text.jsonl')],
  ...['--context_size', '32', '--save_path', out, ...more],
];
const options = (out: string) => ({
  tokenizer_name: model,
  dataset_path: join(tinyModel(), 'text.jsonl'),
  context_size: 32,
  num_proc: 1,
  save_path: join(folder, out),
});
/** Of the tests that ask for a work and not for a command: importing what a tokenizer needs takes most of the time. */
let worker: Worker;
beforeAll(async () => {
  vi.stubEnv('SAE_LENS_TS_PYTHON', pythonForTests());
  vi.stubEnv(MARKER, marker);
  worker = await Worker.start({ python: pythonForTests() });
});
afterAll(async () => {
  await worker.shutdown();
  vi.unstubAllEnvs();
});
const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name), 'base64')]));

describe('sae-lens-ts pretokenize', () => {
  it('a dry run says what would happen and starts nothing', async () => {
    const { code, stdout } = await run(flags('dry', '--dry-run'), { env: { SAE_LENS_TS_PYTHON: '/nowhere' } });
    expect(code).toBe(0);
    expect(stdout).toContain('sequences  32 tokens: BOS document BOS document …\n');
    expect(stdout).toContain('nothing is there yet\n');
    expect(existsSync(join(folder, 'dry'))).toBe(false);
  });

  it('tells its events as JSON, and a dataset that is there already is left as it is', async () => {
    const { code, stdout, stderr } = await run(flags('tokens', '--json', '--num_proc', '2'));
    expect(code, stderr).toBe(0);
    const told = events(stdout);
    expect(new Set(told.map(({ event }) => event))).toEqual(new Set(['stage', 'progress', 'finished']));
    const finished = told.at(-1);
    expect(finished).toMatchObject({ ended: 'done', n_documents: 360, context_size: 32, seed: 42, url: null });
    expect(told.filter(({ event }) => event === 'progress').at(-1)).toMatchObject({
      documents: 360,
      total: 360,
      sequences: finished?.n_sequences,
    });
    expect(stderr).toMatch(/^Done: \d+ sequences of 32 tokens in \d+s$/m);
    expect(stderr).toContain('sae-lens-ts datasets peek ');
    const before = filesOf(join(folder, 'tokens'));
    expect(Object.keys(before).sort()).toEqual([
      ...['data-00000-of-00001.arrow', 'dataset_info.json', 'pretokenize.json', 'sae_lens.json', 'state.json'],
    ]);
    const again = await new PretokenizeRunner({ ...options('tokens'), seed: 42 }, { worker }).run();
    expect(again.ended).toBe('present');
    expect(filesOf(join(folder, 'tokens'))).toEqual(before);
  });

  it('is trained on', async () => {
    const tokens = join(folder, 'tokens');
    const trained = await run(
      tinyRun('--dataset_path', tokens, '--is_dataset_tokenized', 'true', '--name', 'on-tokens'),
    );
    expect(trained.code, trained.stderr).toBe(0);
  });

  it('Ctrl-C puts down what is done, and the same command goes on to the same bytes', async () => {
    const words = (out: string, ...more: string[]): string[] =>
      flags(out, '--dataset_path', long, '--pretokenize_batch_size', '50', '--num_proc', '1', ...more);
    const first = start(words('resumed', '--json'));
    await first.saw('"event":"progress"');
    first.child.kill('SIGINT');
    const stopped = await first.ended;
    expect(stopped.code, stopped.stderr).toBe(130);
    expect(stopped.stderr).toContain('putting down what is done (Ctrl-C again to stop now)');
    expect(stopped.stderr).toMatch(/^Stopped: .* documents, .* tokens are in .*resumed\.partial$/m);
    expect(events(stopped.stdout).at(-1)).toMatchObject({ ended: 'stopped' });
    expect(existsSync(join(folder, 'resumed'))).toBe(false);
    const dry = await run(words('resumed', '--dry-run'));
    expect(dry.stdout).toMatch(/^state +goes on after .* documents/m);
    const second = await run(words('resumed'));
    expect(second.stderr).toMatch(/^continuing after .* of 60 000 documents, /m);
    expect(second.code, second.stderr).toBe(0);
    const whole = { ...options('whole'), dataset_path: long, pretokenize_batch_size: 1000 };
    expect((await new PretokenizeRunner(whole, { worker }).run()).ended).toBe('done');
    expect(filesOf(join(folder, 'resumed'))).toEqual(filesOf(join(folder, 'whole')));
    expect(existsSync(join(folder, 'resumed.partial'))).toBe(false);
  });

  it.each<[string, string[], number, RegExp]>([
    ['a place with other files', ['--save_path', 'thesis'], 7, /error STORAGE .*holds chapter\.txt/],
    ['a place inside a dataset', ['--save_path', 'tokens/new'], 7, /error STORAGE .*inside the dataset/],
    ['a misspelt option', ['--contxt_size', '3'], 2, /did you mean --context_size\?/],
  ])('%s ends with its code', async (_, more, code, message) => {
    mkdirSync(join(folder, 'thesis'), { recursive: true });
    writeFileSync(join(folder, 'thesis', 'chapter.txt'), 'years of work');
    // and nothing is started for it
    const ended = await run(flags('unused', ...more), { env: { SAE_LENS_TS_PYTHON: '/nowhere' } });
    expect(ended.stderr.replaceAll('\n', ' ')).toMatch(message);
    expect(ended.code).toBe(code);
    expect(readdirSync(join(folder, 'thesis'))).toEqual(['chapter.txt']);
  });
});

describe('sent to the hub', () => {
  let hub: MockHub;
  let env: Record<string, string | undefined>;
  const push = (...more: string[]) =>
    run(
      [
        ...['pretokenize', '--tokenizer_name', model, '--dataset_path', join(tinyModel(), 'text.jsonl')],
        ...['--context_size', '32', '--hf_repo_id', 'user/tokens', ...more],
      ],
      { env },
    );

  beforeAll(async () => {
    hub = await MockHub.start();
    const home = { HF_HOME: join(folder, 'hf'), XDG_CACHE_HOME: join(folder, 'cache'), SAE_LENS_TS_HOME: undefined };
    env = { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HF_HUB_OFFLINE: undefined, ...home };
  });
  afterAll(() => hub.close());

  it('without a token nothing is begun', async () => {
    const { HF_TOKEN, ...rest } = env;
    const { code, stderr } = await run(flags('unsent', '--hf_repo_id', 'user/tokens'), { env: rest });
    expect(HF_TOKEN).toBe(TOKEN);
    expect(stderr).toContain('error HUB_TOKEN');
    expect(stderr).not.toContain('loading the tokenizer');
    expect(code).toBe(4);
  });

  it('has its parquet files, sae_lens.json and a card, in one commit, and tells no path of this machine', async () => {
    const { code, stderr } = await push('--hf_num_shards', '3', '--hf_is_private_repo', 'true');
    expect(code, stderr).toBe(0);
    const files = hub.files('datasets/user/tokens');
    expect([...files.keys()].sort().filter((name) => name !== '.gitattributes')).toEqual([
      'README.md',
      ...[0, 1, 2].map((i) => `data/train-0000${i}-of-00003.parquet`),
      'sae_lens.json',
    ]);
    expect(JSON.parse(String(files.get('sae_lens.json')))).toMatchObject({ tokenizer_name: 'model', context_size: 32 });
    const card = String(files.get('README.md'));
    expect(card).toContain('path: data/train-*');
    expect(card).toContain('| Tokens of a sequence | 32 |');
    for (const bytes of files.values()) expect(String(bytes)).not.toContain(tinyModel());
    expect(stderr).toContain(`${hub.url}/datasets/user/tokens`);
    expect(existsSync(join(folder, 'cache/sae-lens-ts/uploads'))).toBe(true);
    expect(readdirSync(join(folder, 'cache/sae-lens-ts/uploads'))).toEqual([]);
    expect(readdirSync(join(folder, 'cache/sae-lens-ts/pretokenized'))).toEqual([]);
  });
});

describe('in TypeScript', () => {
  it('PretokenizeRunner makes the dataset and tells how far it is', async () => {
    const kinds: string[] = [];
    const cfg = new PretokenizeRunnerConfig({ ...options('by-api'), shuffle: false });
    const made = await new PretokenizeRunner(cfg, { worker, onEvent: ({ kind }) => kinds.push(kind) }).run();
    expect(made).toMatchObject({ ended: 'done', nDocuments: 360, contextSize: 32, seed: null, partial: null });
    expect(kinds).toContain('progress');
    expect(readdirSync(made.path)).toContain('sae_lens.json');
  });

  it.each(['to-an-empty-folder', 'to-nothing'])('a link %s is followed to where the dataset will lie', async (name) => {
    const disk = join(folder, 'disk', name);
    mkdirSync(name === 'to-nothing' ? join(folder, 'disk') : disk, { recursive: true });
    symlinkSync(disk, join(folder, name));
    const made = await new PretokenizeRunner(options(name), { worker }).run();
    expect(made).toMatchObject({ ended: 'done', path: disk });
    expect(readdirSync(disk)).toContain('sae_lens.json');
  });

  it('a tokenizer that is not there has its code', async () => {
    const nowhere = { ...options('unused'), tokenizer_name: './nowhere' };
    await expect(new PretokenizeRunner(nowhere, { worker }).run()).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });
});

describe('sae-lens-ts datasets', () => {
  it('lists what is tokenized already, as a table and as JSON', async () => {
    const { stdout } = await run(['datasets', '--tokenizer', 'GPT2']);
    expect(stdout.split('\n')).toHaveLength(4);
    expect(stdout).toMatch(
      /^apollo-research\/Skylion007-openwebtext-tokenizer-gpt2 +gpt2 +Skylion007\/openwebtext +1024 +no$/m,
    );
    const all = JSON.parse((await run(['datasets', '--json'])).stdout);
    expect(all).toHaveLength(7);
    expect(all[0]).toEqual({
      id: 'chanind/openwebtext-gemma',
      tokenizer: 'gemma',
      source: 'Skylion007/openwebtext',
      context_size: 8192,
      created_with_saelens: true,
    });
  });

  it('peek shows columns, rows and how many tokens there are', async () => {
    const text = join(tinyModel(), 'text.jsonl');
    const { stdout, code } = await run(['datasets', 'peek', text, '--tokenizer', model, '--rows', '1']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^rows +360\ncolumns\n {2}text {2}string\nlengths {2}text: \d+ to \d+ tokens, /);
    expect(stdout).toContain('row 0\n  text  The cat counts number 0 of the day.\n');
  });

  it('train notes a prepared dataset that fits its model', async () => {
    const words = ['train', '--dry-run', '--dataset_path', 'Skylion007/openwebtext', '--model_name', 'gpt2'];
    const { stderr } = await run([...words, '--hook_name', 'blocks.0.hook_mlp_out', '--d_in', '768']);
    expect(stderr).toContain('--dataset_path apollo-research/Skylion007-openwebtext-tokenizer-gpt2');
  });
});
