import { stagingFolder } from '../artifacts/activation-cache-folder.ts';
import { freeSpace } from '../artifacts/free-space.ts';
import type { RunnerOptions } from '../config/index.ts';
import { bytes, counted, grouped } from '../format.ts';
import type { CachePlan } from '../plan/activation-cache.ts';
import { CacheActivationsRunner } from './cache-activations.ts';

/** Everything that is known of a cache before it is made. */
export interface CachePreview {
  readonly path: string;
  readonly plan: CachePlan;
  /** What is there: nothing, some of the shards, or all of it. */
  readonly state: 'new' | 'begun' | 'done';
  readonly shardsDone: number;
  /** Still to be written; null while `d_in` or `context_size` is open. */
  readonly neededBytes: number | null;
  readonly freeBytes: number;
}

/**
 * Looks ahead: nothing is made and nothing is started.
 *
 * @throws SaeLensError STORAGE when something else is in that place
 */
export async function previewCache(config: RunnerOptions['cache-activations']): Promise<CachePreview> {
  const runner = new CacheActivationsRunner(config);
  const { path, plan } = runner;
  const found = await runner.progress();
  const shards = found.state === 'new' ? [] : found.manifest.shards;
  const done = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const left = plan.totalBytes === null ? null : Math.max(0, plan.totalBytes - done);
  return {
    path,
    plan,
    state: found.state,
    shardsDone: shards.length,
    neededBytes: found.state === 'done' ? 0 : left,
    freeBytes: await freeSpace(stagingFolder(path)),
  };
}

/** The preview for people. */
export function previewText(config: RunnerOptions['cache-activations'], preview: CachePreview): string {
  const { plan, neededBytes, freeBytes } = preview;
  const stored = config.dtype === 'bfloat16' ? 'bfloat16, kept in float32' : config.dtype;
  const tokens =
    plan.nTokens === null
      ? `${grouped(config.training_tokens)} tokens or a few more, in whole sequences`
      : `${grouped(plan.nTokens)} tokens in ${grouped(plan.nSequences ?? 0)} sequences of ${plan.context}`;
  const files = plan.nFiles === null ? '' : ` in ${counted(plan.nFiles, 'file')}`;
  const fits = neededBytes !== null && neededBytes > freeBytes ? '  does not fit' : '';
  const disk =
    neededBytes === null
      ? 'not known before the model is loaded: set d_in and context_size to see it here'
      : `${bytes(neededBytes)}${files}, ${bytes(freeBytes)} free${fits}`;
  const there = {
    new: 'nothing',
    begun: `${preview.shardsDone} shards; the rest is written`,
    done: 'all of it: nothing to do',
  }[preview.state];
  const lines: [string, string][] = [
    ['model', `${config.model_name} · ${plan.hookNames.join(', ')} · ${stored}`],
    ['data', `${config.dataset_path} · ${tokens}${config.shuffle ? ` · shuffled by seed ${config.seed}` : ''}`],
    ['disk', disk],
    ['path', preview.path],
    ['there', there],
  ];
  return lines.map(([title, text]) => ` ${title.padEnd(8)} ${text}`).join('\n');
}
