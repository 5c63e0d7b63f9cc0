/** What takes the place of what the tests have not, or have no time for: said of the text of a line or a snippet. */
interface Substitute {
  readonly of: RegExp;
  readonly by: string;
  /** On this page alone. */
  readonly page?: string;
}

/** A run of seconds; stronger than what the line itself says, since it stands behind it. */
const SHORT =
  '--training_tokens 2560 --train_batch_size_tokens 256 --store_batch_size_prompts 4 --n_batches_in_buffer 4';
/** The demo's schedule is longer than that. */
const UNSCHEDULED = '--lr_warm_up_steps 0 --lr_decay_steps 0';
/** In place of the demo's model and text. */
const TINY = `--model_name ./model --hook_name model.layers.0 --dataset_path ./text.jsonl --d_in 32 ${UNSCHEDULED}`;
/** In place of the model and text of SAELens' sample. */
const SAMPLE = `--model_name ./model --dataset_path ./text.jsonl --is_dataset_tokenized false --d_in 32 --context_size 32 --l1_warm_up_steps 0 ${UNSCHEDULED}`;

/** The table of them, in the order in which they are applied. */
const SUBSTITUTES: readonly Substitute[] = [
  // Words in capitals are the reader's own.
  { of: /\bRUN\b/, by: 'my-run' },
  { of: /\bresume (runs\/)?NAME\b/, by: 'resume $1interrupted' },
  { of: /\brm NAME\b/, by: 'rm k64 -y' },
  { of: /(--tokenizer|hooks) (NAME|MODEL)\b/, by: '$1 ./model' },
  { of: /\bOTHER\b/, by: 'k32' },
  { of: /\bcache (\w+) PATH\b/, by: 'cache $1 ./cache' },
  { of: /\bNAME\b/, by: 'my-run' },
  { of: /\bdashboard FOLDER\b/, by: 'dashboard runs' },
  { of: /\bpeek PATH\b/, by: 'peek ./text.jsonl' },
  { of: /\bexplain KEY\b/, by: 'explain lr' },
  { of: /\bexplain CODE\b/, by: 'explain NOT_FINITE' },
  { of: /\bRELEASE ID\b/, by: 'gpt2-small-res-jb blocks.8.hook_resid_pre' },
  { of: /\bRELEASE\b/, by: 'gpt2-small-res-jb' },
  { of: /\bREPO\b/, by: 'user/repo' },
  { of: /\btrain … /, by: 'train config.yaml ' },
  { of: /\b(train|pretokenize) --json$/, by: '$1 config.yaml --json' },
  {
    of: /\bpretokenize config.yaml/,
    by: 'pretokenize --tokenizer_name ./model --dataset_path ./text.jsonl --save_path t',
  },
  // Models and texts of the hub, and their sizes.
  { of: /gpt2-small-res-jb\/blocks\.8\.hook_resid_pre/, by: 'hub:user/repo/folder' },
  { of: /((?:model|tokenizer)_name(?: |: '?))gpt2\b/, by: '$1./model' },
  { of: /(hook_name(?: |: '?))blocks\.8/, by: '$1blocks.0' },
  { of: /(Skylion007\/openwebtext|NeelNanda\/c4-10k|my\/text)/, by: './text.jsonl' },
  { of: /\bd_in 768\b/, by: 'd_in 32' },
  { of: /(d_sae(?: |: ))(24576|98304)\b/, by: '$164' },
  { of: /(lr_warm_up_steps: )500\b/, by: '$15' },
  { of: /\bhooks gpt2\b/, by: 'hooks ./model' },
  { of: /\btransformer\.h\.1\b/, by: 'model.layers.1' },
  { of: / --device cuda\b/, by: '' },
  { of: /(training_tokens )10000000\b/, by: '$12560' },
  {
    of: /training_tokens: 200_000_000,/,
    by: 'training_tokens: 2_560, train_batch_size_tokens: 256, store_batch_size_prompts: 4, n_batches_in_buffer: 4,',
  },
  // The sample of SAELens: its model and its tokenized text, and its sizes.
  { of: /'tiny-stories-1L-21M'/, by: "'./model'" },
  { of: /'apollo-research\/roneneldan-TinyStories-tokenizer-gpt2'/, by: "'./text.jsonl'" },
  { of: /is_dataset_tokenized: true/, by: 'is_dataset_tokenized: false' },
  { of: /d_in: 1024/, by: 'd_in: 32' },
  { of: /context_size: 256/, by: 'context_size: 32' },
  { of: /totalTrainingSteps = 30_000/, by: 'totalTrainingSteps = 50' },
  { of: /batchSize = 4096/, by: 'batchSize = 256' },
  { of: /n_batches_in_buffer: 64/, by: 'n_batches_in_buffer: 4' },
  // What would take minutes.
  { of: /^(sae-lens-ts train --preset tiny-stories-1L-21M)$/, by: `$1 ${SAMPLE}` },
  { of: /^(sae-lens-ts train --preset demo)$/, by: `$1 ${TINY}` },
  { of: /^(sae-lens-ts train config\.yaml)$/, by: `$1 ${TINY}`, page: 'docs/first-steps.md' },
  { of: /^(sae-lens-ts train (?!.*--dry-run|.*--json|config\.yaml --d).*)$/, by: `$1 ${SHORT}` },
  { of: /\bsetup --force\b/, by: 'setup' },
  { of: /^git clone <this repository>/, by: 'git clone --quiet --depth 1 "file://$CHECKOUT" sae-lens-ts' },
  // It would ask on a terminal; test/e2e/first-steps.test.ts answers.
  { of: /^sae-lens-ts init$/, by: 'sae-lens-ts init --template demo -y' },
  {
    of: /^npm start$/,
    by: `npm start --prefix "$CHECKOUT" -- --runs_folder "$PWD/demo" ${SHORT} ${UNSCHEDULED}`,
  },
];

/** The text as it is run on a page. */
export const substituted = (text: string, onPage: string): string =>
  SUBSTITUTES.filter(({ page = onPage }) => page === onPage).reduce(
    (done, { of, by }) => done.replace(new RegExp(of, 'g'), by),
    text,
  );
