import { z } from 'zod';
import { FEATURES_FORMAT } from './layout.ts';

const share = z.number().min(0).max(1);
const count = z.int().nonnegative();

/** Of a latent or a token, and a number for it: largest first, except negative logits, where the smallest is first. */
const numbered = z.array(z.tuple([count, z.number()]));
const tokenLogits = z.array(z.tuple([z.string(), z.number()]));

const histogramSchema = z.object({
  /** One more than there are counts, rising. Bin i holds `edges[i] <= value < edges[i + 1]`; the last its end too. */
  edges: z.array(z.number()),
  counts: z.array(count),
});

const exampleSchema = z.object({
  /** Text around the peak, token by token, within one sequence. */
  tokens: z.array(z.string()),
  /** Activation of this latent at each of the tokens; 0 where it is not active. */
  values: z.array(z.number()),
  /** Which of the tokens the example is about. */
  peak: count,
  /** Number of the sequence in the text that was read, from 0. */
  sequence: count,
  /** Position of the peak in its sequence, from 0. */
  position: count,
});

const groupSchema = z.object({
  /** To show: `top`, or `50–71 % of the maximum`. */
  name: z.string(),
  /** Activations of the group: `low <= value < high`, where the uppermost range has its end too; null for `top`. */
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** On how many tokens the activation is in this range, exactly; for `top`, in how many sequences it is active. */
  count,
  /**
   * `top`: peaks of the sequences with the largest ones, largest first. Of a range: a uniform sample of the tokens in it,
   * largest activation first.
   */
  examples: z.array(exampleSchema),
});

/** What the folder is about. */
export const aboutSchema = z.object({
  format: z.literal(FEATURES_FORMAT),
  /** Of the run or the SAE, as it was given. */
  name: z.string(),
  model_name: z.string(),
  hook_name: z.string(),
  hook_head_index: z.int().nullable(),
  /** Of the language model, that the hook is in; null where it is in none, or before folders said it. */
  layer: count.nullable().default(null),
  architecture: z.string().nullable(),
  d_in: count,
  d_sae: count,
  dataset_path: z.string(),
  /** `training`: the beginning of the dataset the SAE was trained on; `named`: another one was asked for. */
  text: z.enum(['training', 'named']),
  /** Tokens that all numbers are about. */
  n_tokens: count,
  /** Special tokens beside them that were read, shown in examples, and not counted. */
  n_excluded_tokens: count,
  n_sequences: count,
  context_size: count,
  /** Latents in this folder: rows of the table. */
  n_latents: count,
  latents_per_chunk: z.int().positive(),
  /** How many of them were never active. */
  n_dead: count,
  /** Why there are no logits; null where there are. */
  no_logits: z.string().nullable(),
  /** Of how many tokens, evenly spread over the text, co-activation is. */
  n_co_activation_tokens: count,
  seed: count,
  /** ISO 8601. */
  created: z.string(),
  /** Of sae-lens-ts. */
  version: z.string(),
  /** The command line that made it; null where a program did. */
  command: z.string().nullable(),
});

/** One row for each latent, by columns of equal length; enough to list, sort and search them. */
export const latentTableSchema = z.object({
  /** Number of the latent in the SAE, rising. */
  index: z.array(count),
  /** Share of tokens on which it is active. */
  density: z.array(share),
  /** 0 for a latent that was never active. */
  max_activation: z.array(z.number()),
  /** Over the tokens on which it is active; 0 where there are none. */
  mean_activation: z.array(z.number()),
  decoder_norm: z.array(z.number()),
  /** Up to 3 different tokens at the peaks of its top examples, most active first. */
  top_tokens: z.array(z.array(z.string())),
  /** Up to 3 tokens whose logits it raises most; empty where there are no logits. */
  positive_tokens: z.array(z.array(z.string())),
});

/** All of one latent that the table does not have. */
export const latentDetailSchema = z.object({
  /** Number of the latent in the SAE. */
  index: count,
  /** Of its activations above zero, exact; bins grow by the factor 2^(1/4), so draw them equally wide. */
  activation_histogram: histogramSchema,
  /** Of its effect on the logits of all tokens, in bins of equal width. */
  logit_histogram: histogramSchema.nullable(),
  /** Up to 10 tokens whose logits it raises most, and by how much for one unit of activation. */
  positive_logits: tokenLogits,
  /** Up to 10 tokens whose logits it lowers most. */
  negative_logits: tokenLogits,
  /** Up to 10 other latents of the SAE by the cosine of their decoder directions; they need not be in this folder. */
  similar: numbered,
  /** Up to 10 other latents by the correlation of being active on a token (phi: 1 always together, 0 by chance). */
  co_active: numbered,
  /** `top`, then ranges of activation from the uppermost down; a latent that was never active has none. */
  groups: z.array(groupSchema),
});

/** What feature pages tell of the SAE as a whole: its sizes, the text that was read, where the numbers come from. */
export type About = z.infer<typeof aboutSchema>;
export type LatentTable = z.infer<typeof latentTableSchema>;
export type LatentDetail = z.infer<typeof latentDetailSchema>;
export type Histogram = z.infer<typeof histogramSchema>;
export type Example = z.infer<typeof exampleSchema>;
export type ExampleGroup = z.infer<typeof groupSchema>;
