import { describe, expect, it } from 'vitest';
import {
  preparedDatasetFor,
  preparedDatasetNote,
  pretokenizedDatasets,
} from '../../../src/runners/prepared-datasets.ts';

const RUN = {
  model_name: 'gpt2',
  dataset_path: 'Skylion007/openwebtext',
  context_size: 128,
  is_dataset_tokenized: null,
  use_cached_activations: false,
};
const idFor = (changes: object) => preparedDatasetFor({ ...RUN, ...changes })?.id ?? null;

describe('a prepared dataset', () => {
  it.each([
    ['gpt2-small', /gpt2$/],
    ['tiny-stories-1L-21M', /gpt2$/],
    ['EleutherAI/gpt-neo-125m', /gpt2$/],
    ['EleutherAI/pythia-70m-deduped', /gpt-neox-20b$/],
    ['google/gemma-2-2b', /openwebtext-gemma$/],
    ['meta-llama/Llama-3.2-1B', /openwebtext-llama3$/],
  ])('fits %s, by the tokenizer of its family', (model_name, id) => {
    expect(idFor({ model_name })).toMatch(id);
  });

  it.each(['google/gemma-3-1b-pt', 'meta-llama/Llama-2-7b-hf', 'gelu-2l', 'Qwen/Qwen3-0.6B'])(
    'does not fit %s',
    (model_name) => expect(idFor({ model_name })).toBeNull(),
  );

  it('of the same source comes first', () => {
    expect(idFor({ dataset_path: 'monology/pile-uncopyrighted' })).toMatch(/pile-uncopyrighted-tokenizer-gpt2$/);
    expect(idFor({ model_name: 'llama-3.2-1b', dataset_path: 'roneneldan/TinyStories' })).toBe(
      'GulkoA/TinyStories-tokenized-Llama-3.2',
    );
  });

  it('has sequences that are long enough', () => {
    expect(idFor({ context_size: 2048 })).toBeNull();
    expect(idFor({ model_name: 'llama-3.2-1b', dataset_path: 'roneneldan/TinyStories', context_size: 256 })).toBe(
      'chanind/openwebtext-llama3',
    );
  });

  it.each([
    { dataset_path: 'chanind/openwebtext-gemma' },
    { dataset_path: 'apollo-research/roneneldan-TinyStories-tokenizer-gpt2' },
    { dataset_path: './mine.jsonl' },
    { dataset_path: 'bundled:english' },
    { is_dataset_tokenized: true },
    { use_cached_activations: true },
  ])('is not spoken of with %j', (changes) => {
    expect(idFor(changes)).toBeNull();
  });

  it('is named in one line with the flag to give', () => {
    expect(preparedDatasetNote(RUN)).toBe(
      'Skylion007/openwebtext is tokenized for gpt2 already, 1024 tokens a sequence: --dataset_path ' +
        'apollo-research/Skylion007-openwebtext-tokenizer-gpt2 (sae-lens-ts datasets)',
    );
  });

  it('is found by its tokenizer, whatever the case', () => {
    expect(pretokenizedDatasets('LLAMA').map(({ tokenizer }) => tokenizer)).toEqual(['llama3', 'llama3.2']);
    expect(pretokenizedDatasets()).toHaveLength(7);
  });
});
