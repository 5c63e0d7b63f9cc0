import { expect, test } from 'vitest';
import { spellFlags } from '../../../src/cli/spelling.ts';

test.each<[string, string]>([
  ['--train_batch_size_tokens 64', '--train_batch_size_tokens=64'],
  ['--train-batch-size-tokens=64', '--train_batch_size_tokens=64'],
  ['--sae.k 3 x.yaml', '--k=3 x.yaml'],
  ['--sae topk', '--architecture=topk'],
  ['--hook_point blocks.0 --train-batch-size 64', '--hook_name=blocks.0 --train_batch_size_tokens=64'],
  ['--streaming --seed 1', '--streaming=true --seed=1'],
  ['--streaming false', '--streaming=false'],
  ['--streaming maybe', '--streaming=maybe'],
  ['--streaming dir/file', '--streaming=true dir/file'],
  ['--prefetch_llm_batches 4 x.yaml', '--prefetch_llm_batches=4 x.yaml'],
  ['--no-streaming x.yaml', '--streaming=false x.yaml'],
  ['--nostreaming', '--streaming=false'],
  ['--dtype bfloat16 --sae.dtype float32', '--dtype=bfloat16 --sae.dtype=float32'],
  ['--exclude_special_tokens true', '--exclude_special_tokens=true'],
  ['--exclude_special_tokens', '--exclude_special_tokens=true'],
  ['--lr -1', '--lr=-1'],
  ['--json --dry-run', '--json --dry-run'],
  ['-- --lr 1', '-- --lr 1'],
])('%s is read as %s', (given, expected) => {
  expect(spellFlags(given.split(' '))).toEqual(expected.split(' '));
});

test('a list is space separated, also with negative numbers, and ends where a file begins', () => {
  expect(spellFlags(['--seqpos_slice', '5', '-5', 'x.yaml'])).toEqual(['--seqpos_slice=5 -5', 'x.yaml']);
});
