import { expect, test } from 'vitest';
import { PRETOKENIZE_ROWS } from '../../../src/config/generated/options.ts';
import {
  CacheActivationsRunnerConfig,
  environmentLayer,
  PretokenizeRunnerConfig,
  resolveOptions,
} from '../../../src/config/index.ts';
import type { SaeLensError } from '../../../src/errors.ts';

const object = (value: unknown) => ({ kind: 'object', source: 'the configuration', value }) as const;

test('a pretokenizing run is complete from what must be given', () => {
  const config = new PretokenizeRunnerConfig({ dataset_path: 'NeelNanda/c4-10k', save_path: 'out' });
  expect(config).toMatchObject({ tokenizer_name: 'gpt2', context_size: 128, num_proc: 4, hf_num_shards: 64, seed: 42 });
});

test('all problems of a runner are told at once, with the nearest names', () => {
  const bad = { dataset_pth: 'x', context_size: '12', hf_num_shards: 3, shuffle: false, save_path: 'o' };
  const problems = problemsOf(() => resolveOptions('pretokenize', [object(bad)]));
  expect(problems).toEqual([
    'dataset_pth: is not an option',
    'dataset_path: must be given',
    'context_size: "12" is text; expected a number',
  ]);
});

test.each([
  [{ hf_num_shards: 3, save_path: 'o' }, 'hf_num_shards: has no effect without hf_repo_id'],
  [{}, 'save_path: must be given, or hf_repo_id: the result has to go somewhere'],
  [{ save_path: 'o', shuffle: false, seed: 3 }, 'seed: has no effect without shuffle'],
  [{ hf_repo_id: 'nobody' }, 'hf_repo_id: "nobody" is not "owner/name"'],
  [{ save_path: 'o', context_size: 1 }, 'context_size: 1 leaves no room beside begin_batch_token'],
  [
    { save_path: 'o', disable_concat_sequences: true, sequence_separator_token: 'eos' },
    'sequence_separator_token: has no effect with disable_concat_sequences: a sequence has one document',
  ],
])('pretokenizing with %j is refused', (options, problem) => {
  const layer = object({ dataset_path: 'd', ...options });
  expect(problemsOf(() => resolveOptions('pretokenize', [layer]))).toEqual([problem]);
});

const cache = { model_name: 'gelu-2l', hook_name: 'h', dataset_path: 'd', model_batch_size: 4, training_tokens: 512 };

test('a resolved configuration resolves to itself: a default said aloud asks for nothing', () => {
  const resolved = new CacheActivationsRunnerConfig({ ...cache, context_size: 8, shuffle: false });
  expect(new CacheActivationsRunnerConfig(resolved)).toEqual(resolved);
  expect(() => new CacheActivationsRunnerConfig({ ...resolved, seed: 7 })).toThrow('seed');
});

test.each([
  [{ seqpos_slice: [0, 8, -1] }, 'seqpos_slice: the step must be at least 1'],
  [{ seqpos_slice: [8, null], context_size: 8 }, 'seqpos_slice: keeps no position of context_size 8'],
  [
    { disable_concat_sequences: true, sequence_separator_token: 'eos' },
    'sequence_separator_token: has no effect with disable_concat_sequences: a sequence has one document',
  ],
  [
    { use_chat_formatting: true, context_size: 8, is_dataset_tokenized: false },
    'is_dataset_tokenized: has no effect with use_chat_formatting',
  ],
])('caching with %j is refused', (options, problem) => {
  expect(problemsOf(() => resolveOptions('cache-activations', [object({ ...cache, ...options })]))).toEqual([problem]);
});

test('a caching run takes one hook or several', () => {
  expect(new CacheActivationsRunnerConfig(cache).hook_name).toBe('h');
  expect(new CacheActivationsRunnerConfig({ ...cache, hook_name: ['a', 'b'] }).hook_name).toEqual(['a', 'b']);
});

test.each([
  [{ hook_name: ['a', 'b', 'a'] }, 'hook_name: "a" is named twice'],
  [{ context_size: 1024 }, 'training_tokens: 512 is less than one sequence of context_size 1024'],
  [{ use_chat_formatting: true }, 'context_size: must be given with use_chat_formatting: no row tells it'],
  [{ llm_compilation_mode: 'default' }, 'llm_compilation_mode: has no effect without compile_llm'],
  [{ context_size: 0 }, 'context_size: 0 must be -1 or a length'],
])('caching with %j is refused', (options, problem) => {
  const layer = object({ ...cache, ...options });
  expect(problemsOf(() => resolveOptions('cache-activations', [layer]))).toEqual([problem]);
});

test('flags overrule the environment, which overrules the file; each value knows its layer', () => {
  const environment = environmentLayer({ SAE_LENS_TS_CONTEXT_SIZE: '64', SAE_LENS_TS_LR: '3' }, PRETOKENIZE_ROWS);
  const { config, provenance } = resolveOptions('pretokenize', [
    { kind: 'flags', source: 'the command line', value: { num_proc: 2 } },
    environment as NonNullable<typeof environment>,
    { kind: 'file', source: 'a.yaml', value: { dataset_path: 'd', save_path: 's', context_size: 32, num_proc: 8 } },
  ]);
  expect(config).toMatchObject({ dataset_path: 'd', context_size: 64, num_proc: 2 });
  expect(provenance.get('context_size')?.layer).toBe('environment');
  expect(provenance.get('shuffle')).toEqual({ layer: 'default' });
});

function problemsOf(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    const { problems } = (error as SaeLensError).details as { problems: { path: string; message: string }[] };
    return problems.map(({ path, message }) => `${path}: ${message}`);
  }
  throw new Error('nothing was refused');
}
