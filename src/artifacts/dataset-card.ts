import { stringify } from 'yaml';

/** What the card of a pretokenized dataset tells. */
export interface DatasetFacts {
  readonly repo: string;
  readonly split: string;
  /** Contents of sae_lens.json. */
  readonly made: Readonly<Record<string, unknown>>;
  readonly nSequences: number;
  readonly nDocuments: number;
}

const ROWS: readonly [string, string][] = [
  ['tokenizer_name', 'Tokenizer'],
  ['original_dataset', 'Source'],
  ['original_dataset_name', 'Configuration'],
  ['original_split', 'Split'],
  ['original_column_name', 'Column'],
  ['context_size', 'Tokens of a sequence'],
  ['begin_batch_token', 'First token of a sequence'],
  ['begin_sequence_token', 'First token of a document'],
  ['sequence_separator_token', 'Token between documents'],
  ['disable_concat_sequences', 'One document a sequence'],
  ['use_chat_formatting', 'Chat template'],
  ['shuffled', 'Shuffled'],
  ['seed', 'Seed'],
];

/** README.md of a dataset repository; its front matter tells `load_dataset` where the files are. */
export function datasetCard({ repo, split, made, nSequences, nDocuments }: DatasetFacts): string {
  const front = stringify({
    tags: ['saelens', 'pretokenized'],
    configs: [{ config_name: 'default', data_files: [{ split, path: `data/${split}-*` }] }],
  });
  const cell = (value: unknown): string => String(value).replace(/[|\n]/g, ' ');
  const table = ROWS.filter(([key]) => made[key] !== null && made[key] !== undefined).map(
    ([key, label]) => `| ${label} | ${cell(made[key])} |`,
  );
  return `---
${front.trimEnd()}
---

# ${repo.split('/')[1]}

${nSequences} sequences of token ids (column \`input_ids\`) from ${nDocuments} documents, to train sparse autoencoders on.

| | |
| --- | --- |
${table.join('\n')}

In Python, with SAELens: \`LanguageModelSAERunnerConfig(dataset_path="${repo}", context_size=${made.context_size}, …)\`.
In TypeScript: \`sae-lens-ts train --dataset_path ${repo} --context_size ${made.context_size}\`.
\`sae_lens.json\` says how it was made; training checks it against the model's tokenizer.
`;
}
