import type { Architecture } from '../sae-schema.ts';
import { advisedSae } from './advised-sae.ts';
import type { Preset } from './preset.ts';

const BATCH_TOKENS = 4096;
const TRAINING_TOKENS = 200_000_000;
const TOTAL_STEPS = Math.floor(TRAINING_TOKENS / BATCH_TOKENS);

/** Layer 8 of gpt2-small, the hook that most published SAEs of it have. */
function gpt2(architecture: Architecture, description: string): Preset {
  const { sae, why } = advisedSae(architecture, 24_576, TOTAL_STEPS);
  return {
    description,
    config: {
      model_name: 'gpt2',
      hook_name: 'blocks.8.hook_resid_pre',
      dataset_path: 'apollo-research/Skylion007-openwebtext-tokenizer-gpt2',
      is_dataset_tokenized: true,
      streaming: true,
      exclude_special_tokens: true,
      sae: { architecture, d_in: 768, ...sae } as Preset['config']['sae'],
      lr: 3e-4,
      lr_warm_up_steps: 1000,
      lr_decay_steps: Math.floor(TOTAL_STEPS / 5),
      train_batch_size_tokens: BATCH_TOKENS,
      context_size: 128,
      n_batches_in_buffer: 64,
      store_batch_size_prompts: 32,
      training_tokens: TRAINING_TOKENS,
      checkpoint_every: '10min',
      logger: { log_to_wandb: false },
      device: 'auto',
    },
    why: {
      ...why,
      hook_name: 'as in gpt2-small-res-jb and Bussmann et al. (arXiv 2412.06410)',
      dataset_path: "OpenWebText, tokenized already: one of SAELens' list of pretokenized datasets",
      exclude_special_tokens: 'the activation of the first token is far larger than any other',
      'sae.d_sae': '32 × d_in, as gpt2-small-res-jb',
      lr: 'as Bussmann et al. (arXiv 2412.06410), at this batch size',
      lr_decay_steps: 'the last fifth, as Anthropic advises',
      training_tokens: 'enough for a look; published SAEs took 300 million to a billion',
      checkpoint_every: 'what an interruption costs at most; the newest two are kept',
      'logger.log_to_wandb': 'true sends metrics to Weights & Biases; they are in the folder of the run either way',
    },
  };
}

export const gpt2TopK = gpt2('topk', 'gpt2-small, layer 8: a top-k SAE of 24 576 latents on OpenWebText');
export const gpt2BatchTopK = gpt2('batchtopk', 'gpt2-small, layer 8: a BatchTopK SAE of 24 576 latents on OpenWebText');
export const gpt2JumpReLU = gpt2('jumprelu', "gpt2-small, layer 8: a JumpReLU SAE with Anthropic's tanh penalty");
