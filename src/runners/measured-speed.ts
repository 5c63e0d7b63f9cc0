import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { toJson, writeFileAtomic } from '../artifacts/atomic.ts';
import { makeFolder } from '../artifacts/make-folder.ts';
import { configsOf, type ResolvedConfig } from '../config/index.ts';
import { cacheHome } from '../worker/cache-home.ts';

const Measured = z.object({ tokensPerSecond: z.number().positive(), on: z.string() });
const Speeds = z.record(z.string(), Measured);
/** Speed of a training run on this machine, and the day it was seen. */
export type MeasuredSpeed = z.output<typeof Measured>;

const path = (): string => join(cacheHome(), 'speeds.json');

/** What a run of the same kind went at on this machine; null when there was none. */
export function measuredSpeed(config: ResolvedConfig): MeasuredSpeed | null {
  return readSpeeds()[kindOf(config)] ?? null;
}

/** Remembers how fast a run was, for the next plan. It is a convenience: what goes wrong here goes unnoticed. */
export async function rememberSpeed(config: ResolvedConfig, tokensPerSecond: number): Promise<void> {
  if (!(tokensPerSecond > 0)) return;
  const on = new Date().toISOString().slice(0, 10);
  const speeds = { ...readSpeeds(), [kindOf(config)]: { tokensPerSecond: Math.round(tokensPerSecond), on } };
  try {
    await makeFolder(dirname(path()));
    await writeFileAtomic(path(), toJson(speeds));
  } catch {
    // A read-only home: the next plan says that it does not know.
  }
}

function readSpeeds(): z.output<typeof Speeds> {
  try {
    return Speeds.parse(JSON.parse(readFileSync(path(), 'utf8')));
  } catch {
    return {};
  }
}

/** Runs that go at the same speed: the same model, place, shapes, devices and arithmetic. */
function kindOf(config: ResolvedConfig): string {
  const kind = [
    [
      config.model_name,
      config.model_class_name,
      config.hook_name,
      config.context_size,
      config.store_batch_size_prompts,
      ...(config.use_cached_activations ? ['cached'] : []),
    ],
    ...[...configsOf(config).values()].map(({ sae }) => [
      sae.architecture,
      sae.d_sae,
      sae.expansion_factor,
      'k' in sae ? sae.k : null,
      sae.dtype,
      config.train_batch_size_tokens,
    ]),
    [config.device, config.llm_device, config.autocast, config.autocast_lm, config.compile_sae, config.compile_llm],
    [config.n_threads, config.n_eval_batches, config.logger.wandb_log_frequency, config.logger.eval_every_n_wandb_logs],
  ];
  return createHash('sha256').update(JSON.stringify(kind)).digest('hex').slice(0, 16);
}
