import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const N_STEPS = 500;
/** Flags of a run that is interrupted: a checkpoint every twenty steps, evaluations, and a scale that is estimated first. */
export const INTERRUPTED_RUN = [
  ...['--dataset_path', 'text.jsonl', '--training_tokens', String(128 * N_STEPS), '--n_checkpoints', '24'],
  ...['--wandb_log_frequency', '1', '--eval_every_n_wandb_logs', '50'],
  ...['--normalize_activations', 'expected_average_only_in'],
];

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** What runs have left in the folder that commands are started in. */
export function runsBelow(folder: string) {
  const place = (name: string, ...path: string[]): string => join(folder, 'runs', name, ...path);
  /** Every row of metrics, without the memory of the process. */
  const rows = (name: string): string[] =>
    readFileSync(place(name, 'metrics.jsonl'), 'utf8')
      .replace(/,"system\/\w+":[\d.e-]+/g, '')
      .trimEnd()
      .split('\n');
  return {
    place,
    rows,
    checkpoints: (name: string): string[] =>
      readdirSync(place(name, 'checkpoints'))
        .filter((one) => /^\d+$/.test(one))
        .sort((a, b) => Number(a) - Number(b)),
    /** What a run has made. */
    made: (name: string): Record<string, string> => {
      const files = ['sae_weights.safetensors', 'sparsity.safetensors', 'cfg.json'];
      const hashes = files.map((file) => [file, sha256(readFileSync(place(name, 'output', file)))]);
      return { ...Object.fromEntries(hashes), metrics: sha256(rows(name).join()) };
    },
  };
}
