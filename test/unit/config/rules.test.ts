import { expect, test } from 'vitest';
import { type Layer, parseConfigObject, resolveConfig } from '../../../src/config/index.ts';
import { problemsOf } from './problems-of.ts';

const run = (options: object = {}, sae: object = {}) => ({
  dataset_path: 'text',
  ...options,
  sae: { architecture: 'standard', d_in: 16, d_sae: 64, ...sae },
});

test('the defaults make a run that works', () => {
  expect(problemsOf({ dataset_path: 'text', sae: { architecture: 'standard' } })).toEqual([]);
});

test.each<[string, object, RegExp]>([
  ['no dataset', { sae: { architecture: 'standard' } }, /dataset_path \| is not set/],
  [
    'buffer below batch',
    run({ n_batches_in_buffer: 1, store_batch_size_prompts: 1 }),
    /buffer of 128.*= 4096 \| use at least 32/,
  ],
  [
    'k above d_sae',
    run({}, { architecture: 'topk', k: 65 }),
    /sae\.k \| 65 is more than d_sae = 64 \| use a value from 1 to 64/,
  ],
  [
    'k above d_sae as an argument',
    run({}, { activation_fn: 'topk' }),
    /activation_fn_kwargs \| 100 is more than d_sae = 64/,
  ],
  [
    'widths that shrink',
    run({}, { architecture: 'matryoshka_batchtopk', matryoshka_widths: [8, 8, 64] }),
    /matryoshka_widths \| must grow from one to the next/,
  ],
  [
    'a width above d_sae',
    run({}, { architecture: 'matryoshka_batchtopk', matryoshka_widths: [8, 65] }),
    /matryoshka_widths \| 65 is more than d_sae = 64/,
  ],
  ['no widths', run({}, { architecture: 'matryoshka_batchtopk' }), /matryoshka_widths \| is not set/],
  [
    'sparse kernels and latents that are never zero',
    run({}, { architecture: 'standard', activation_fn: 'gelu', kernels: 'sparse' }),
    /kernels \| "sparse" needs activation_fn relu or tanh-relu/,
  ],
  [
    'sparse kernels and noise',
    run({ compile_sae: true }, { architecture: 'topk', kernels: 'sparse', noise_scale: 0.1 }),
    /kernels \| "sparse" needs noise_scale 0, compile_sae false/,
  ],
  [
    'a choice between kernels where there is none',
    run({}, { architecture: 'topk', kernels: 'measured', dtype: 'bfloat16' }),
    /kernels \| "measured" needs dtype float32 or float64/,
  ],
  [
    'measured kernels and sparse ones',
    run({}, { architecture: 'topk', kernels: 'measured', use_sparse_activations: true }),
    /kernels \| "measured" contradicts/,
  ],
  [
    'kernels said twice',
    run({}, { architecture: 'topk', kernels: 'dense', use_sparse_activations: true }),
    /kernels \| "dense" contradicts/,
  ],
  ['an architecture of later', run({}, { architecture: 'abstopk' }), /architecture abstopk is not built yet/],
  [
    'context above tokens',
    run({ context_size: 64, training_tokens: 32, train_batch_size_tokens: 32 }),
    /64 is more than training_tokens = 32/,
  ],
  ['tokens below one batch', run({ training_tokens: 4000 }), /4000 is less than one batch/],
  [
    'warm-up and decay above steps',
    run({ lr_warm_up_steps: 300, lr_decay_steps: 300 }),
    /together more than the 488 whole batches in the 489 steps of the run/,
  ],
  ['half floats', run({ dtype: 'float16' }), /^dtype \| float16 is too narrow .* \| set sae\.dtype to float32/],
  ['half floats of the SAE', run({}, { dtype: 'float16' }), /^sae\.dtype \| float16 is too narrow/],
  [
    'warm-up above steps that are all whole',
    run({ training_tokens: 4 * 4096, lr_warm_up_steps: 5 }),
    /together more than the 4 steps of the run/,
  ],
  [
    'no step left for a cosine',
    run({ lr_scheduler_name: 'cosineannealing', lr_warm_up_steps: 488 }),
    /leave 0 of the 488 whole batches in the 489 steps of the run for cosineannealing/,
  ],
  [
    'fewer steps than cycles',
    run({ lr_scheduler_name: 'cosineannealingwarmrestarts', n_restart_cycles: 9, lr_warm_up_steps: 480 }),
    /leave 8 .* needs 9/,
  ],
  [
    'sparsity warm-up above steps',
    run({}, { l1_warm_up_steps: 489 }),
    /489 is more than the 488 whole batches in the 489 steps of the run/,
  ],
  [
    'decay from 0',
    run({ lr_scheduler_name: 'cosineannealing', lr_end: 0, lr_decay_steps: 5 }),
    /lr_end \| 0 leaves nothing/,
  ],
  [
    'lr_end above lr',
    run({ lr_scheduler_name: 'cosineannealing', lr_end: 1, lr_decay_steps: 5 }),
    /1 is more than lr = 0.0003/,
  ],
  [
    'a secret among the arguments of the model',
    run({ model_from_pretrained_kwargs: { token: 'hf_abc' } }),
    /^(?!.*hf_abc).*model_from_pretrained_kwargs \| holds token.*\| set HF_TOKEN/,
  ],
  ['the split that is trained on', run({ eval_dataset_split: 'test', dataset_split: 'test' }), /"test" has no effect/],
  ['an empty slice', run({ seqpos_slice: [100, -100] }), /\[100, -100\] keeps no position/],
  ['a slice that steps back', run({ seqpos_slice: [10, 0, -1] }), /step must be at least 1/],
  ['layer against hook', run({ hook_layer: 3 }), /3 is not the layer of hook_name = "blocks.0.hook_mlp_out" \| use 0/],
  [
    'unit decoder and heuristic',
    run({}, { normalize_sae_decoder: true, decoder_heuristic_init: true }),
    /undoes decoder_heuristic_init/,
  ],
  [
    'unit decoder and scaled penalty',
    run({}, { normalize_sae_decoder: true, scale_sparsity_penalty_by_decoder_norm: true }),
    /meaningless/,
  ],
  ['two sizes', run({}, { expansion_factor: 3 }), /64 and expansion_factor = 3 cannot both be set/],
  ['two starts', run({}, { decoder_orthogonal_init: true, decoder_heuristic_init: true }), /two different starts/],
  [
    'no target',
    run({}, { architecture: 'jumprelu', jumprelu_sparsity_loss_mode: 'quadratic' }),
    /target_l0 \| is not set/,
  ],
  [
    'a target without use',
    run({}, { architecture: 'jumprelu', target_l0: 8 }),
    /8 has no effect without jumprelu_sparsity_loss_mode quadratic/,
  ],
  [
    'a logarithm of 0',
    run({}, { architecture: 'jumprelu', vocabulary: 'v5', jumprelu_init_threshold: 0 }),
    /0 has no logarithm/,
  ],
  [
    'an option of another architecture',
    run({}, { architecture: 'jumprelu', l1_coefficient: 2 }),
    /no effect with architecture jumprelu.*\| use l0_coefficient/,
  ],
  [
    'ghost gradients elsewhere',
    run({ use_ghost_grads: true }, { architecture: 'gated' }),
    /use_ghost_grads \| has no effect with architecture gated/,
  ],
  [
    'noise in a gate',
    run({}, { architecture: 'gated', noise_scale: 1 }),
    /1 has no effect without an architecture other than gated/,
  ],
  [
    'another activation of topk',
    run({}, { architecture: 'topk', k: 3, activation_fn: 'relu' }),
    /cannot go with architecture topk/,
  ],
  ['chat tokens', run({ use_chat_formatting: true, is_dataset_tokenized: true }), /needs text/],
  [
    'fine-tuning without tokens',
    run({ finetuning_method: 'decoder' }, { apply_b_dec_to_input: false }),
    /no effect without finetuning_tokens/,
  ],
  [
    'fine-tuning of less than a batch',
    run({ finetuning_tokens: 100, finetuning_method: 'scale' }),
    /finetuning_tokens \| 100 is less than one batch/,
  ],
  [
    'an end of a constant rate',
    run({ lr_end: 1e-6 }),
    /lr_end \| 0.000001 has no effect without lr_scheduler_name cos/,
  ],
  ['k with relu', run({}, { activation_fn_kwargs: { k: 3 } }), /"k":3} has no effect without activation_fn topk/],
  [
    'more than k',
    run({}, { activation_fn: 'topk', activation_fn_kwargs: { k: 3, j: 1 } }),
    /must hold a whole number k .*nothing else/,
  ],
  [
    'two ks of topk',
    run({}, { architecture: 'topk', k: 3, activation_fn_kwargs: { k: 4 } }),
    /"k":4} and k = 3 are the same option/,
  ],
  ['two places', run({ d_sae: 32 }), /sae.d_sae = 64 and d_sae = 32 are the same option|d_sae = 32 and sae.d_sae = 64/],
  ['two names', run({ hook_point: 'a.0', hook_name: 'b.0' }), /hook_name = "b.0" and hook_point = "a.0" are the same/],
  [
    'two loggers',
    run({ log_to_wandb: true, logger: { log_to_wandb: false } }),
    /logger.log_to_wandb = false and log_to/,
  ],
  ['an estimate of nothing', run({ n_batches_for_norm_estimate: 5 }), /5 has no effect without normalize_activations/],
  [
    'a separator of nothing',
    run({ disable_concat_sequences: true, sequence_separator_token: 'eos' }),
    /"eos" has no effect without disable_concat_sequences false/,
  ],
  [
    'a part of what has none',
    run({ dataset_path: 'bundled:english', dataset_name: 'x' }),
    /"x" has no effect without a/,
  ],
  ['a share nobody can miss', run({ dead_feature_threshold: 1e-7 }), /1e-7 has no effect without a value above/],
  ['bfloat16 of float64', run({ autocast: true, dtype: 'float64' }), /true has no effect without a dtype other/],
  ['a start of a saved SAE', run({ from_pretrained_path: 'x' }, { b_dec_init_method: 'mean' }), /"mean" has no effect/],
  [
    'a norm of unit rows',
    run({}, { normalize_sae_decoder: true, decoder_init_norm: 0.5 }),
    /0.5 has no effect without decoder_heuristic_init, decoder_orthogonal_init and normalize_sae_decoder false/,
  ],
  ['a cache without its place', run({ use_cached_activations: true }), /true needs cached_activations_path/],
  [
    'one head of a cache',
    run({ use_cached_activations: true, cached_activations_path: 'cache', hook_head_index: 3 }),
    /3 cannot be taken of a cache/,
  ],
  [
    'a cache that is not used',
    run({ cached_activations_path: 'cache' }),
    /has no effect without use_cached_activations/,
  ],
  [
    'two beginnings',
    run({ resume_from_checkpoint: 'x', from_pretrained_path: 'y' }),
    /has no effect with resume_from_checkpoint/,
  ],
  ['the old way to go on', run({ resume: true }), /sae-lens-ts resume RUN/],
  ['hook_eval', run({ hook_eval: 'blocks.1' }), /"blocks.1" has no effect/],
  ['Mamba', run({ model_class_name: 'HookedMamba' }), /mamba-lens/],
  ['a misspelled schedule', run({ lr_scheduler_name: 'constnat' }), /did you mean constant/],
  ['a misspelled architecture', run({}, { architecture: 'top_k' }), /did you mean topk/],
  ['an option at the wrong place', run({}, { seed: 1 }), /seed belongs beside sae, not in it/],
  ['a misspelled option', run({ trainin_tokens: 1 }), /did you mean training_tokens/],
  ['0 prompts in an evaluation', run({ eval_batch_size_prompts: 0 }), /0 is too small \| use more than 0/],
  ['an unknown device', run({ device: 'gpu' }), /must be auto, cpu, mps, cuda or cuda:N/],
  ['not a number', run({ lr: Number.NaN }), /lr \|/],
])('%s is refused', (_name, value, expected) => {
  expect(problemsOf(value).join('\n')).toMatch(expected);
});

test('a cache needs no dataset', () => {
  const cached = { use_cached_activations: true, cached_activations_path: 'cache', dataset_path: '' };
  expect(problemsOf(run(cached))).toEqual([]);
});

test('an option with a problem of its own does not hide those of others', () => {
  const problems = problemsOf(run({ lr: -1, hook_layer: 3, context_size: 'x' }));
  expect(problems.map((problem) => problem.split(' ')[0])).toEqual(['context_size', 'lr', 'hook_layer']);
});

test('an explicit step of 1 is a slice like others', () => {
  expect(parseConfigObject(run({ seqpos_slice: [0, 10, 1] })).seqpos_slice).toEqual([0, 10, 1]);
});

test('another split of the training dataset can be evaluated on', () => {
  expect(problemsOf(run({ eval_dataset_split: 'validation' }))).toEqual([]);
});

const layer = (kind: Layer['kind'], value: object): Layer => ({ kind, source: `the ${kind}`, value });

test('an option of a file that a flag makes idle is left out, and a notice says so', () => {
  const file = run({ lr_scheduler_name: 'cosineannealingwarmrestarts', n_restart_cycles: 3 });
  const { config, notices } = resolveConfig([layer('file', file), layer('flags', { lr_scheduler_name: 'constant' })]);
  expect(config.n_restart_cycles).toBe(1);
  expect(notices).toEqual([
    'the file: n_restart_cycles = 3 has no effect without lr_scheduler_name cosineannealingwarmrestarts',
  ]);
});

test('what waits for W&B may stay in a file, but is not asked for in vain', () => {
  const logger = { log_to_wandb: false, wandb_project: 'mine' };
  const { config, notices } = resolveConfig([layer('file', run({ logger }))]);
  expect(config.logger.wandb_project).toBe('mine');
  expect(notices).toEqual(['the file: logger.wandb_project = "mine" has no effect without log_to_wandb true']);
  const layers = [layer('file', run({ log_to_wandb: false })), layer('flags', { wandb_project: 'mine' })];
  expect(() => resolveConfig(layers)).toThrow('"mine" has no effect without log_to_wandb true');
});

test('one option under two names with one value is one option', () => {
  expect(parseConfigObject(run({ d_sae: 64 })).sae.d_sae).toBe(64);
});
