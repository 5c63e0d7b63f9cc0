import type { z } from 'zod';
import type { featuresSchema } from './features-schema.ts';
import type { OptionsRule } from './rules-runners.ts';

type Features = z.output<typeof featuresSchema>;

/** First and last latent of each stretch of a list such as `0-99,200`; null for all. */
export function stretchesOf(latents: string): [first: number, last: number][] | null {
  if (latents === 'all') return null;
  return latents.split(',').map((stretch) => {
    const [first, last = first] = stretch.split('-').map(Number) as [number, number?];
    return [first, last];
  });
}

export const featuresRules: readonly OptionsRule<Features>[] = [
  ({ latents }) => {
    const wrong = stretchesOf(latents)?.find(([first, last]) => last < first);
    if (wrong === undefined) return undefined;
    return { path: 'latents', value: latents, message: `ends before it begins: ${wrong.join('-')}` };
  },
  ({ latents }) => {
    const stretches = (stretchesOf(latents) ?? []).toSorted(([a], [b]) => a - b);
    const again = stretches.find(([first], n) => n > 0 && first <= (stretches[n - 1] as [number, number])[1]);
    if (again === undefined) return undefined;
    return { path: 'latents', value: latents, message: `names latent ${again[0]} twice` };
  },
  ({ dataset_path, dataset_split }) =>
    dataset_path === null && dataset_split !== null
      ? { path: 'dataset_split', message: 'has no effect without dataset_path', hint: 'name the dataset too' }
      : undefined,
];
