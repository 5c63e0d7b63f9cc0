import { type RunPaths, readRunRecord, updateRunRecord } from '../artifacts/run-folder.ts';
import type { Logger } from '../log.ts';
import type { Started } from './training-events.ts';

/**
 * Writes down what decides the bits of a run and only the worker knows (design §10). A run does not fail for want of
 * it; one that was resumed elsewhere says so.
 */
export async function recordMachine(paths: RunPaths, python: string, started: Started, log: Logger): Promise<void> {
  const { d_in, d_sae, saes, total_steps, n_eval_prompts, n_skipped_tokens, ...rest } = started;
  const { device, torch, cpu, threads, kernels, ...told } = rest;
  const versions = { python, torch, ...told.versions };
  const machine = { device, cpu_capability: cpu, threads, kernels, ...told.machine };
  const named = Object.entries(saes ?? {}).map(([name, sae]) => [`${name}/d_sae`, sae.d_sae]);
  const sizes = {
    d_in,
    d_sae,
    ...Object.fromEntries(named),
    total_steps,
    n_eval_prompts,
    ...(n_skipped_tokens > 0 && { n_skipped_tokens }),
  };
  try {
    const before = await readRunRecord(paths);
    const { python: _, kernels: __, ...deciding } = { ...versions, ...machine, ...told.revisions };
    warnOfOther({ ...before.machine, ...before.versions, ...before.hashes }, deciding, log);
    await updateRunRecord(paths, { versions, machine, sizes, hashes: told.revisions });
  } catch (error) {
    log.warn(`${paths.run} lacks what the worker told: ${(error as Error).message}`);
  }
}

/** Where two sessions of a run differ in what decides bits, so may their last digits. */
function warnOfOther(before: Record<string, unknown>, now: Record<string, unknown>, log: Logger): void {
  const differing = Object.keys(now).filter((name) => name in before && before[name] !== now[name]);
  if (differing.length === 0) return;
  const told = differing.map((name) => `${name} ${before[name]}, now ${now[name]}`);
  log.warn(`It began with ${told.join('; ')}: from here on its numbers may differ in their last bits`);
}
