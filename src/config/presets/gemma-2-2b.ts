import { advisedSae } from './advised-sae.ts';
import type { Preset } from './preset.ts';

const BATCH_TOKENS = 4096;
const TRAINING_TOKENS = 750_000_000;
const TOTAL_STEPS = Math.floor(TRAINING_TOKENS / BATCH_TOKENS);
const { sae, why } = advisedSae('matryoshka_batchtopk', 32_768, TOTAL_STEPS);

/** The shape of chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40, which was trained with SAELens. */
export const gemma22b: Preset = {
  description: 'Gemma 2 2B on one GPU of 24 GB: a Matryoshka BatchTopK SAE of 32 768 latents at layer 12',
  config: {
    model_name: 'gemma-2-2b',
    hook_name: 'blocks.12.hook_resid_post',
    model_from_pretrained_kwargs: { center_writing_weights: false, dtype: 'bfloat16' },
    dataset_path: 'monology/pile-uncopyrighted',
    streaming: true,
    exclude_special_tokens: true,
    sae: { architecture: 'matryoshka_batchtopk', d_in: 2304, ...sae } as Preset['config']['sae'],
    lr: 3e-4,
    lr_warm_up_steps: 1000,
    lr_decay_steps: Math.floor(TOTAL_STEPS / 5),
    train_batch_size_tokens: BATCH_TOKENS,
    context_size: 1024,
    n_batches_in_buffer: 32,
    store_batch_size_prompts: 4,
    training_tokens: TRAINING_TOKENS,
    autocast: true,
    checkpoint_every: '30min',
    n_eval_batches: 4,
    eval_batch_size_prompts: 2,
    logger: { log_to_wandb: false },
    device: 'cuda',
  },
  why: {
    ...why,
    model_name: 'gated: accept its licence on the hub and set HF_TOKEN',
    model_from_pretrained_kwargs: 'in bfloat16 the model takes 5.2 GB, in float32 twice that',
    dataset_path: 'the Pile, as the published SAEs of this shape had',
    exclude_special_tokens: 'the first token has massive activations, which say nothing about language',
    'sae.d_sae': 'as chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40',
    lr_decay_steps: 'the last fifth, as Anthropic advises',
    store_batch_size_prompts: 'more is faster while the memory lasts',
    training_tokens: 'as those SAEs; their explained variance at this layer is 0.73',
    autocast: 'much faster on a GPU, by the SAELens guide; the weights stay float32, which trains better',
    checkpoint_every: 'what an interruption costs at most; the newest two are kept',
    eval_batch_size_prompts: 'the logits of a prompt over 256 000 words take a gigabyte',
    'logger.log_to_wandb': 'true sends metrics to Weights & Biases; they are in the folder of the run either way',
  },
};
