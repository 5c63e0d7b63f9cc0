import { duration, significant } from '../format.ts';
import type { RunProfile } from './sink.ts';

/** Where the time went as a table, longest part first, and how much of it nobody can save. */
export function profileLines({ n_steps, parts, product_s }: RunProfile): string[] {
  const total = parts.reduce((sum, { seconds }) => sum + seconds, 0);
  if (n_steps === 0 || total === 0) return [];
  const percent = (seconds: number): string => `${((100 * seconds) / total).toFixed(1)} %`.padStart(7);
  const perStep = (seconds: number): string => `${significant((1000 * seconds) / n_steps)} ms`;
  const longest = [...parts].sort((a, b) => b.seconds - a.seconds);
  return [
    `Where the time of ${n_steps} steps went (${duration(total)}, ${perStep(total)} each):`,
    ...longest.map(({ part, seconds }) => `  ${part.padEnd(16)} ${percent(seconds)}  ${perStep(seconds)}`),
    `  The products with the encoder alone would take ${perStep(product_s)} a step here: ${percent(product_s).trim()} of it.`,
  ];
}
