import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { freeRunName } from '../artifacts/run-claim.ts';
import { type RunPaths, runPaths } from '../artifacts/run-folder.ts';
import type { ResolvedConfig } from '../config/index.ts';
import { planTraining, runName, type TrainPlan } from '../plan/index.ts';
import { type MeasuredSpeed, measuredSpeed } from './measured-speed.ts';

/** Everything that is known of a run before it starts. */
export interface TrainingPreview {
  /** What the run and its folder would be called if it started now. */
  readonly name: string;
  readonly paths: RunPaths;
  readonly plan: TrainPlan;
  readonly speed: MeasuredSpeed | null;
  readonly wandb: 'off' | 'online' | 'offline' | (string & {});
}

/**
 * Looks ahead: nothing is made and nothing is started.
 *
 * @throws SaeLensError CONFIG_INVALID for a name that cannot be one
 */
export function previewTraining(config: ResolvedConfig, runsFolder: string, name?: string): TrainingPreview {
  const speed = measuredSpeed(config);
  const { output_path: outputPath, checkpoint_path: checkpointPath, rescue_dir: rescueDir } = config;
  const base = { runsFolder, outputPath, checkpointPath, rescueDir };
  const free = name ?? freeRunName({ ...base, name: runName(config, new Date().toISOString().slice(0, 10)) });
  return {
    name: free,
    paths: runPaths({ ...base, name: free }),
    plan: planTraining(config, speed === null ? {} : { tokensPerSecond: speed.tokensPerSecond }),
    speed,
    wandb: config.logger.log_to_wandb ? wandbMode(process.env) : 'off',
  };
}

/** How W&B's client will begin: as told, else online where it finds a key. */
function wandbMode({ WANDB_MODE, WANDB_API_KEY, WANDB_BASE_URL, NETRC }: NodeJS.ProcessEnv): string {
  if (WANDB_MODE) return WANDB_MODE;
  return WANDB_API_KEY || hasLogin(NETRC || join(homedir(), '.netrc'), WANDB_BASE_URL || 'https://api.wandb.ai')
    ? 'online'
    : 'offline';
}

/** `wandb login` writes the key there. */
function hasLogin(netrc: string, server: string): boolean {
  try {
    const host = new URL(server).hostname;
    const words = readFileSync(netrc, 'utf8').split(/\s+/);
    return words.some((word, i) => word === host && words[i - 1] === 'machine');
  } catch {
    return false;
  }
}
