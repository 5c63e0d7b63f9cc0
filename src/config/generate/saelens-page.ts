import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { cacheActivationsShapes } from '../cache-activations-schema.ts';
import { RECORDS, RENAMED } from '../canonical.ts';
import { architecturesWith, loggingOptions, runnerOptions, saeOptions } from '../keys.ts';
import { metaOf } from '../option.ts';
import { pretokenizeShapes } from '../pretokenize-schema.ts';
import { ARCHITECTURES } from '../sae-schema.ts';
import { jsonTypeOf } from './json-type.ts';
import recorded from './saelens-fields.json' with { type: 'json' };

type Options = Readonly<Record<string, z.ZodType>>;
type Fields = Readonly<Record<string, unknown>>;

const [V6, V5] = [recorded['6.54.12'], recorded['5.10.7'] as Fields];
const flat = (shapes: Readonly<Record<string, Options>>): Options => Object.assign({}, ...Object.values(shapes));

/** What a field does otherwise here. Where nothing stands, it does what it does in SAELens. */
const OTHERWISE: Readonly<Record<string, string>> = {
  model_class_name: '`HookedMamba` is not built',
  hook_eval: 'idle in SAELens; any other value is refused',
  dataset_trust_remote_code: 'data is not code: off unless you ask for it',
  is_dataset_tokenized:
    'idle in SAELens; here `true` insists on tokens, `false` on text, and left out the columns decide',
  use_cached_activations: 'read in a seeded random order; no language model without a `dataset_path`',
  n_batches_in_buffer: 'counts batches of the language model; in SAELens since 6.27 sequences',
  seqpos_slice: 'a step of 1 is accepted too',
  seed: 'idle in SAELens; here it decides every random number',
  dtype:
    'nearly idle in SAELens; here the number type of the SAE, unless `sae.dtype` is given, and of stored activations',
  dead_feature_threshold: 'idle in SAELens; here a latent is also dead when it fires on a smaller share of samples',
  n_eval_batches: 'of held-out text, not of the tokens to train on; 0 evaluates nothing',
  checkpoint_path:
    'left out, checkpoints lie in the folder of the run; they are ready for use and hold all that `resume` needs',
  save_final_checkpoint: 'beside `output`, which is always complete',
  output_path:
    'left out, the finished SAE lies in the folder of the run; a given folder is replaced as a whole or not at all',
  resume_from_checkpoint: 'goes on bit for bit on a CPU; `resume RUN` goes on in the same folder',
  verbose: '`false` shows warnings and errors only',
  n_batches_for_norm_estimate: 'the batches are trained on afterwards, not lost',
  logger: 'its options may be flat',
  sae: 'its options may be flat; several go into `saes`',
  log_activations_store_to_wandb: 'idle in SAELens; here uploaded with each checkpoint',
  log_optimizer_state_to_wandb: 'idle in SAELens; here uploaded with each checkpoint',
  log_to_wandb: 'without it metrics and evaluations are in `metrics.jsonl` all the same',
  'sae.d_in': 'left out, that of the model; given, checked against it',
  'sae.d_sae': '`expansion_factor` will do instead',
  'sae.dtype': 'left out, that of the run; `float16` is refused, which Adam cannot train in',
  'sae.k': 'more than `d_sae` is refused before anything starts',
  'sae.use_sparse_activations': 'the same as `kernels: sparse`',
  'sae.matryoshka_widths': 'the list you give stays as it is',
  'cache.model_class_name': '`HookedMamba` is not built',
  'cache.hook_name': 'a list of hooks is read in one pass of the model',
  'cache.d_in': 'left out, that of the model; given, checked against it',
  'cache.device': 'SAELens takes CUDA where there is one',
  'cache.dataset_trust_remote_code': 'data is not code: off unless you ask for it',
  'cache.context_size': 'the length of the first row of a tokenized dataset, as in SAELens',
  'cache.shuffle': 'what lies on disk is shuffled; in SAELens only what goes to the hub',
  'cache.hf_num_shards': 'the number of files, whether or not they go to the hub',
  'cache.training_tokens': 'rounded up to whole sequences; a dataset that ends before is cached once',
  'pretokenize.dataset_trust_remote_code': 'data is not code: off unless you ask for it',
  'pretokenize.seed': 'one is drawn where it is `null`, and stands in `sae_lens.json`',
  'pretokenize.streaming': 'with any `num_proc`',
  'pretokenize.pretokenize_batch_size': 'how the work is done; no text is lost between batches',
  'v5.hook_layer': 'gone in 6; checked against `hook_name`',
  'v5.finetuning_method': 'gone in 6',
  'v5.finetuning_tokens': 'gone in 6',
  'v5.resume': 'refused by 5.x too, when true: `resume RUN`',
  'v5.b_dec_init_method': 'gone in 6; estimated on activations scaled like those trained on',
  'v5.normalize_sae_decoder': 'gone in 6; with scaled activations saved as it was trained',
  'v5.activation_fn': 'gone in 6; `gelu`, which the documentation promised, is there too',
  'v5.activation_fn_kwargs': 'gone in 6; `k` of an SAE with architecture topk is read from it',
};

/** Fields that no option of ours is, and why. */
const NOT_HERE: Readonly<Record<string, string>> = {
  'sae.residual_threshold': 'of `matching_pursuit`, which is not built',
  'sae.max_iterations': 'of `matching_pursuit`, which is not built',
  'sae.stop_on_duplicate_support': 'of `matching_pursuit`, which is not built',
};

/** docs/saelens-options.md */
export function saelensPage(): string {
  const sae: Record<string, { value: unknown; in: string[] }> = {};
  for (const [architecture, fields] of Object.entries(V6.TrainingSAEConfig as Record<string, Fields>)) {
    for (const [name, value] of Object.entries(fields)) {
      sae[name] ??= { value, in: [] };
      sae[name].in.push(architecture);
    }
  }
  const everywhere = Object.keys(V6.TrainingSAEConfig).length;
  const v5 = Object.keys(V5).filter(
    (name) => !(name in V6.LanguageModelSAERunnerConfig) && !(name in V6.LoggingConfig),
  );
  return `${[
    '# SAELens, field by field',
    'Generated by `npm run generate` from the fields of SAELens 6.54.12 and 5.10.7 and from our schemas; do not edit. A test compares the first with SAELens itself.',
    'Names are the same in YAML and JSON, in TypeScript and as flags. Where *what differs* is empty, a field does what it does in SAELens. What is behind the differences: [coming from SAELens](coming-from-saelens.md); what each option does: [options](options.md).',
    '## LanguageModelSAERunnerConfig',
    table(V6.LanguageModelSAERunnerConfig, runnerOptions, ''),
    '## TrainingSAEConfig',
    `Nested in \`sae\`, or flat. Of the architectures of SAELens ${ARCHITECTURES.map((name) => `\`${name}\``).join(', ')} are here.`,
    table(
      Object.fromEntries(Object.entries(sae).map(([name, { value }]) => [name, value])),
      saeOptions,
      'sae.',
      (name) => {
        const theirs = (sae[name]?.in ?? []).filter((one) => (ARCHITECTURES as readonly string[]).includes(one));
        const ours = architecturesWith(name);
        return sae[name]?.in.length === everywhere || isDeepStrictEqual(new Set(theirs), new Set(ours))
          ? ''
          : `only ${ours.join(', ')}`;
      },
    ),
    '## LoggingConfig',
    'Nested in `logger`, or flat.',
    table(V6.LoggingConfig, loggingOptions, ''),
    '## CacheActivationsRunnerConfig',
    'Options of [`cache-activations`](data.md#activations-computed-once).',
    table(V6.CacheActivationsRunnerConfig, flat(cacheActivationsShapes), 'cache.'),
    '## PretokenizeRunnerConfig',
    'Options of [`pretokenize`](data.md#datasets-prepared-once).',
    table(V6.PretokenizeRunnerConfig, flat(pretokenizeShapes), 'pretokenize.'),
    '## SAELens 5',
    'The flat configuration of 5.10.7 is read as it is. What it has in common with 6 stands above; these are its other fields. The defaults, those of a configuration made without arguments, hold for a configuration that SAELens 5 saved, or that says `vocabulary: v5`.',
    table(Object.fromEntries(v5.map((name) => [name, V5[name]])), { ...runnerOptions, ...saeOptions }, 'v5.'),
    `Other defaults than in 6: ${otherDefaults()}.`,
    '## Older names',
    `| written | read as |\n| --- | --- |\n${Object.entries(RENAMED)
      .map(([old, now]) => `| \`${old}\` | \`${now}\` |`)
      .join('\n')}`,
    `For the record only, and left out when read: ${[...RECORDS].map((name) => `\`${name}\``).join(', ')}.`,
  ].join('\n\n')}\n`;
}

function table(fields: Fields, ours: Options, group: string, also = (_name: string): string => ''): string {
  const rows = Object.entries(fields).map(([name, value]) => {
    const note = [OTHERWISE[`${group}${name}`], also(name)].filter(Boolean).join('; ');
    return `| \`${name}\` | ${shown(value)} | ${here(name, value, ours[name], group)} | ${note} |`;
  });
  return `| field | default in SAELens | here | what differs |\n| --- | --- | --- | --- |\n${rows.join('\n')}`;
}

/** The default here, or what became of the field. */
function here(name: string, theirs: unknown, schema: z.ZodType | undefined, group: string): string {
  if (RECORDS.has(name)) return 'a record';
  if (['sae', 'logger', 'architecture'].includes(name)) return 'the same';
  if (schema === undefined) {
    const reason = NOT_HERE[`${group}${name}`];
    if (reason === undefined) throw new Error(`SAELens' ${name} is no option, and nothing says why`);
    return `not here: ${reason}`;
  }
  const { v5, computed } = metaOf(schema);
  const own = group === 'v5.' && v5 !== undefined ? v5 : jsonTypeOf(schema).default;
  if (isDeepStrictEqual(own, theirs)) return 'the same';
  if (computed !== undefined) return `*${computed}*`;
  if (own !== undefined) return shown(own);
  return schema.isOptional() ? 'not set' : 'must be given';
}

const shown = (value: unknown): string =>
  value === 'required' || value === 'a group' ? value : `\`${JSON.stringify(value).replaceAll('|', '\\|')}\``;

/** Options of both generations with another default in 5.x. */
function otherDefaults(): string {
  const both = Object.entries({ ...runnerOptions, ...loggingOptions }).filter(
    ([name, schema]) => name in V5 && metaOf(schema).v5 !== undefined,
  );
  return both.map(([name, schema]) => `\`${name}\` ${shown(metaOf(schema).v5)}`).join(', ');
}
