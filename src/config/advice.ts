import type { ResolvedConfig } from './resolved.ts';
import { scheduledSteps } from './rules-quantity.ts';

/** Less than so much of the way to the latents' own threshold shows in every number of the finished SAE. */
const THRESHOLD_ARRIVED = 0.98;

/** What is allowed, does what it says, and still is likely not what was meant: one line each. */
export function adviceOn(config: ResolvedConfig): string[] {
  const advice: string[] = [];
  const { sae } = config;
  if ('topk_threshold_lr' in sae) {
    const steps = scheduledSteps(config);
    const way = 1 - (1 - sae.topk_threshold_lr) ** steps;
    if (way < THRESHOLD_ARRIVED) {
      const enough = Math.ceil(1000 * (1 - (1 - THRESHOLD_ARRIVED) ** (1 / Math.max(steps, 1)))) / 1000;
      advice.push(
        `sae.topk_threshold_lr = ${sae.topk_threshold_lr}: in ${steps} steps the threshold goes ${Math.floor(100 * way)} % of ` +
          `its way up from 0, so the finished SAE lets more latents through than k; use ${enough} or more`,
      );
    }
  }
  return advice;
}
