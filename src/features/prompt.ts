import { z } from 'zod';
import { LONGEST_PROMPT } from './longest-prompt.ts';

const count = z.int().nonnegative();

/** What the page asks of its server. */
export const promptSchema = z.strictObject({
  /** Half of a character would be no text for a tokenizer. */
  text: z
    .string()
    .min(1)
    .max(LONGEST_PROMPT)
    .refine((text) => !/\p{Surrogate}/u.test(text)),
  /** A latent whose activation on every token is wanted; null for none. */
  latent: count.nullable(),
});

/** Which latents are active on the tokens of a prompt. */
export const promptAnswerSchema = z.object({
  tokens: z.array(z.string()),
  /** Tokens of the text after those, which did not fit into the context. */
  n_left_out: count,
  /** For each token, its most active latents and their activations, largest first. */
  latents: z.array(z.array(z.tuple([count, z.number()]))),
  /** On each token, how many latents are active. */
  n_active: z.array(count),
  /** Of the latent that was asked for, its activation on each token. */
  values: z.array(z.number()).nullable(),
});

export type PromptAnswer = z.infer<typeof promptAnswerSchema>;
