import { z } from 'zod';
import { loggingSchema } from './logging-schema.ts';
import type { OptionGroup } from './option.ts';
import { count, device, dtype, kwargs, nonNegative, option, positive, positiveInt } from './option.ts';
import { trainingSaeSchema } from './sae-schema.ts';
import { insertedToken } from './shared-shapes.ts';

const languageModelShape = {
  model_name: option(z.string().min(1).default('gelu-2l'), {
    description: 'Language model: a name TransformerLens or Hugging Face knows, a folder, or bundled:NAME.',
  }),
  model_class_name: option(z.enum(['HookedTransformer', 'AutoModelForCausalLM']).default('HookedTransformer'), {
    description: 'How the model is loaded, and so what its hook points are called.',
  }),
  hook_name: option(z.string().min(1).default('blocks.0.hook_mlp_out'), {
    description: 'Hook point whose activations the SAE learns.',
  }),
  hook_head_index: option(count().nullable().default(null), { description: 'Take one attention head of the hook.' }),
  model_kwargs: option(kwargs().default({}), { description: 'Arguments of every forward pass of the model.' }),
  model_from_pretrained_kwargs: option(kwargs().nullable().default(null), {
    description: 'Arguments for loading the model.',
    computed: '{"center_writing_weights": false} for HookedTransformer, else {}',
    filled: true,
  }),
};

const dataShape = {
  dataset_path: option(z.string().default(''), {
    description: 'Dataset: a Hugging Face name, a local folder or file, or bundled:NAME.',
  }),
  dataset_name: option(z.string().nullable().default(null), { description: 'Configuration of the dataset.' }),
  dataset_split: option(z.string().min(1).default('train'), { description: 'Split to train on.' }),
  dataset_column: option(z.string().nullable().default(null), {
    description: 'Column with the text or the tokens.',
    computed: 'found by name',
  }),
  dataset_trust_remote_code: option(z.boolean().default(false), {
    description: 'Allow code that comes with the dataset to run here.',
  }),
  eval_dataset_path: option(z.string().nullable().default(null), {
    description: 'Dataset for evaluations.',
    computed: 'sequences of the training dataset that are not trained on',
  }),
  eval_dataset_split: option(z.string().min(1).default('train'), {
    description: 'Split of eval_dataset_path; without that one, another split of dataset_path to evaluate on.',
  }),
  streaming: option(z.boolean().default(true), {
    description: 'Read the dataset while training, without a download first.',
  }),
  is_dataset_tokenized: option(z.boolean().nullable().default(null), {
    description: 'Insist that the dataset holds tokens (true) or text (false).',
    computed: 'seen from its columns',
  }),
  use_chat_formatting: option(z.boolean().default(false), {
    description: "Format conversations with the tokenizer's chat template.",
  }),
  context_size: option(positiveInt().default(128), {
    description: 'Length of the sequences the model reads.',
    unit: 'tokens',
  }),
  prepend_bos: option(z.boolean().default(true), { description: 'Start each sequence with the BOS token.' }),
  disable_concat_sequences: option(z.boolean().default(false), {
    description: 'One document a sequence; shorter documents are left out.',
  }),
  sequence_separator_token: option(insertedToken().default('bos'), {
    description: 'Token between two documents of a sequence: an id, bos, eos, sep or null.',
  }),
  exclude_special_tokens: option(
    z.union([z.boolean(), z.array(count())], 'must be true, false or a list of token ids').default(false),
    { description: 'Leave out activations of special tokens: all of them (true), or those of a list of ids.' },
  ),
  seqpos_slice: option(z.array(z.int().nullable()).min(1).max(3).default([null]), {
    description: 'Positions to train on, as the arguments of a Python slice.',
    unit: 'tokens',
  }),
  on_data_end: option(z.enum(['repeat', 'stop']).default('repeat'), {
    description: 'At the end of the dataset start over, or stop with a complete SAE.',
  }),
};

const activationsShape = {
  n_batches_in_buffer: option(positiveInt().default(20), {
    description: 'Size of the mixing buffer, in batches of the language model.',
    unit: 'model batches',
  }),
  store_batch_size_prompts: option(positiveInt().default(32), {
    description: 'Sequences in one forward pass of the language model.',
    unit: 'prompts',
  }),
  activations_mixing_fraction: option(z.number().min(0).max(1).default(0.5), {
    description:
      'Share of the buffer that is kept back for mixing; 0 means no shuffling, and of a cache the order on disk.',
  }),
  n_batches_for_norm_estimate: option(positiveInt().default(1000), {
    description: 'Training batches read to estimate the scale of the activations.',
    unit: 'batches',
  }),
  prefetch_llm_batches: option(
    z.union([z.boolean(), count()], 'must be true, false or a number of batches').default(false),
    {
      description: 'Batches of the language model computed ahead; true is 1.',
      unit: 'model batches',
      resolvesTo: 'int',
    },
  ),
  use_cached_activations: option(z.boolean().default(false), {
    description:
      'Read activations from a cache on disk. Without a dataset_path or eval_dataset_path no language model is loaded.',
  }),
  cached_activations_path: option(z.string().nullable().default(null), {
    description: 'Folder of the cache, of sae-lens-ts cache-activations or of SAELens.',
  }),
  skip_bad_shards: option(z.boolean().default(false), {
    description:
      'Leave out shards of the cache that are missing, cut or damaged, and say how many tokens that loses, instead of ending. A cache of SAELens has no checksums to tell them by.',
  }),
};

const deviceShape = {
  device: option(device().default('cpu'), { description: 'Device for training: auto, cpu, mps, cuda or cuda:N.' }),
  llm_device: option(device().nullable().default(null), {
    description: 'Device of the language model.',
    computed: 'device',
    filled: true,
  }),
  act_store_device: option(
    z
      .union([device(), z.literal('with_model')], 'must be auto, cpu, mps, cuda, cuda:N or with_model')
      .nullable()
      .default(null),
    {
      description: 'Device of the activation buffer; with_model is llm_device.',
      computed: 'device',
      filled: true,
      resolvesTo: 'str',
    },
  ),
  dtype: option(dtype().default('float32'), { description: 'Number type of the SAE and of its activations.' }),
  autocast: option(z.boolean().default(false), { description: 'bfloat16 arithmetic in the SAE.' }),
  autocast_lm: option(z.boolean().default(false), { description: 'bfloat16 arithmetic in the language model.' }),
  compile_sae: option(z.boolean().default(false), { description: 'Compile the training step of the SAE.' }),
  sae_compilation_mode: option(z.string().nullable().default(null), {
    description: 'Mode of torch.compile for the SAE.',
  }),
  compile_llm: option(z.boolean().default(false), { description: 'Compile the language model.' }),
  llm_compilation_mode: option(z.string().nullable().default(null), {
    description: 'Mode of torch.compile for the model.',
  }),
  seed: option(count().default(42), { description: 'Seed of initialization and of the order of the data.' }),
  n_threads: option(positiveInt().nullable().default(null), {
    description: 'CPU threads of torch.',
    computed: "torch's choice",
  }),
};

const trainingShape = {
  training_tokens: option(positiveInt().default(2_000_000), { description: 'Tokens to train on.', unit: 'tokens' }),
  train_batch_size_tokens: option(positiveInt().default(4096), {
    description: 'Activations in one training step.',
    unit: 'tokens',
  }),
  finetuning_tokens: option(count().default(0), {
    description: 'Tokens of a second phase that trains only what finetuning_method names.',
    unit: 'tokens',
  }),
  finetuning_method: option(z.enum(['scale', 'decoder', 'unrotated_decoder']).nullable().default(null), {
    description: 'What the second phase trains.',
  }),
  from_pretrained_path: option(z.string().nullable().default(null), {
    description: 'SAE folder whose weights to start from, or `hub:user/repo/folder[@revision]`.',
  }),
  lr: option(positive().default(3e-4), { description: 'Learning rate of Adam.' }),
  lr_end: option(nonNegative().nullable().default(null), {
    description: 'Learning rate at the end of a cosine schedule, where the final decay begins.',
    computed: 'lr / 10',
    filled: true,
  }),
  lr_scheduler_name: option(
    z.enum(['constant', 'cosineannealing', 'cosineannealingwarmrestarts']).default('constant'),
    { description: 'Shape of the learning rate between warm-up and decay.' },
  ),
  lr_warm_up_steps: option(count().default(0), { description: 'Steps of linear warm-up.', unit: 'steps' }),
  lr_decay_steps: option(count().default(0), { description: 'Steps of linear decay to 0 at the end.', unit: 'steps' }),
  n_restart_cycles: option(positiveInt().default(1), {
    description: 'Cycles of cosineannealingwarmrestarts.',
    unit: 'cycles',
  }),
  adam_beta1: option(z.number().min(0).lt(1).default(0.9), {
    description: 'Decay of the first moment of Adam.',
    v5: 0,
  }),
  adam_beta2: option(z.number().min(0).lt(1).default(0.999), { description: 'Decay of the second moment of Adam.' }),
  adam_epsilon: option(positive().default(1e-8), { description: 'Epsilon of Adam.' }),
  max_grad_norm: option(positive().nullable().default(1), {
    description: 'Norm that gradients are clipped to; null does not clip.',
  }),
  stop_on_loss_explosion: option(z.boolean().default(false), {
    description:
      'End the run before a step whose loss is more than 100 times its running median, instead of a warning. It is looked at in every step, for which a GPU waits.',
  }),
  dead_feature_window: option(positiveInt().default(1000), {
    description: 'Steps without firing after which a latent counts as dead.',
    unit: 'steps',
  }),
  feature_sampling_window: option(positiveInt().default(2000), {
    description: 'Steps over which firing frequencies are counted.',
    unit: 'steps',
  }),
  dead_feature_threshold: option(z.number().min(0).max(1).default(1e-8), {
    description:
      'A latent that fired on a smaller share of the samples of the last and the current sampling window is also dead. ' +
      'Counts only once these are more than 1 / threshold samples; the default leaves dead_feature_window alone to judge.',
  }),
};

const evaluationShape = {
  n_eval_batches: option(count().default(10), {
    description:
      'Batches of one evaluation. 0 evaluates nothing; then layers above the hook are not even loaded, where the architecture is known.',
    unit: 'batches',
  }),
  eval_batch_size_prompts: option(positiveInt().nullable().default(null), {
    description: 'Sequences in one batch of an evaluation.',
    unit: 'prompts',
    computed: 'store_batch_size_prompts',
    filled: true,
  }),
  logger: loggingSchema.prefault({}).meta({ description: 'Logging.' }),
  n_checkpoints: option(count().default(0), { description: 'Checkpoints, at equal distances.' }),
  checkpoint_every: option(
    z
      .union(
        [positiveInt(), z.string().regex(/^\d+(\.\d+)? ?min$/)],
        'must be a number of tokens, or minutes as "10min"',
      )
      .nullable()
      .default(null),
    {
      description:
        'Checkpoints to resume from, besides those of n_checkpoints: after so many tokens, or so many minutes ("10min"). Only the newest are kept, and none is sent to W&B.',
    },
  ),
  keep_checkpoints: option(z.int().min(2).default(2), {
    description: 'So many of the checkpoints that checkpoint_every asks for are kept; all others stay.',
  }),
  checkpoints_in_background: option(z.boolean().default(true), {
    description: 'Write checkpoints from a copy in memory while training goes on; without it, training waits.',
  }),
  checkpoint_path: option(z.string().nullable().default(null), {
    description: 'Folder for checkpoints; the run adds a folder with its name.',
    computed: 'checkpoints in the run folder',
  }),
  rescue_dir: option(z.string().nullable().default(null), {
    description: 'Where the output or the last checkpoint goes when its own disk is full; the run adds its name.',
    computed: 'none: a full disk is waited for',
  }),
  save_final_checkpoint: option(z.boolean().default(false), { description: 'Write a checkpoint at the end too.' }),
  output_path: option(z.string().nullable().default(null), {
    description: 'Folder of the finished SAE.',
    computed: 'output in the run folder',
  }),
  resume_from_checkpoint: option(z.string().nullable().default(null), {
    description:
      'Checkpoint of another run, or of the training of SAELens, to go on from, in a new run; `resume` goes on in the run itself.',
  }),
  verbose: option(z.boolean().default(true), { description: 'Say more in the log.' }),
  profile: option(z.boolean().default(false), {
    description: 'Measure where the time of the steps goes, and say it at the end.',
  }),
};

/** Options by group, in the order in which they are shown and cross to the worker. */
export const runnerShapes = {
  'Language model': languageModelShape,
  Data: dataShape,
  Activations: activationsShape,
  'Devices and numerics': deviceShape,
  Training: trainingShape,
  'Evaluation, logging and artifacts': evaluationShape,
} satisfies Partial<Record<OptionGroup, z.core.$ZodShape>>;

/** Everything that crosses to the worker. */
export const runnerShape = {
  sae: trainingSaeSchema,
  ...languageModelShape,
  ...dataShape,
  ...activationsShape,
  ...deviceShape,
  ...trainingShape,
  ...evaluationShape,
};

/** Options that are only checked: they say again what another option says, or ask for what is gone. */
export const checkedShape = {
  hook_layer: option(count().optional(), { description: 'Layer of hook_name; checked against it.' }),
  hook_eval: option(z.string().optional(), { description: 'Only NOT_IN_USE is accepted, as in SAELens.' }),
  resume: option(z.boolean().optional(), { description: 'Only false is accepted: SAELens 5.x refused true.' }),
};

export const runnerSchema = z.strictObject({ ...runnerShape, ...checkedShape });
