import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toJson } from '../artifacts/atomic.ts';
import { datasetCard } from '../artifacts/dataset-card.ts';
import { pushDataset } from '../artifacts/hub-dataset.ts';
import { withoutMachinePaths } from '../artifacts/machine-paths.ts';
import type { RunnerOptions } from '../config/index.ts';
import type { Logger } from '../log.ts';
import { cacheHome } from '../worker/cache-home.ts';
import type { Worker } from '../worker/worker.ts';
import { type Pretokenized, type PretokenizeEvent, pretokenizeEvent } from './pretokenize-events.ts';

const METADATA_NAME = 'sae_lens.json';

/** What is sent, and who hears of it. */
interface Push {
  readonly config: RunnerOptions['pretokenize'] & { readonly hf_repo_id: string };
  readonly made: Pretokenized;
  readonly worker: Worker;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly tell: (event: PretokenizeEvent) => void;
}

/**
 * Brings a finished dataset to the hub as `load_dataset` reads it: parquet files, sae_lens.json, and a card where there
 * is none.
 *
 * @returns the page of the repository
 * @throws SaeLensError HUB…, STORAGE, INTERRUPTED
 */
export async function pushPretokenized({ config, made, worker, log, signal, tell }: Push): Promise<string> {
  const { hf_repo_id: repo, hf_revision: revision, hf_num_shards } = config;
  const split = config.split.replace(/\[.*/, '');
  const key = createHash('sha256').update(made.path).digest('hex').slice(0, 16);
  const folder = join(cacheHome(), 'uploads', key);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    const params = { path: made.path, folder, split, num_shards: hf_num_shards };
    await worker.request('pretokenize_parquet', params, { signal, onEvent: (raw) => tell(pretokenizeEvent(raw)) })
      .result;
    const recorded: unknown = JSON.parse(await readFile(join(made.path, METADATA_NAME), 'utf8'));
    const metadata = withoutMachinePaths(recorded) as Record<string, unknown>;
    await writeFile(join(folder, METADATA_NAME), toJson(metadata));
    const facts = { repo, split, nSequences: made.n_sequences, nDocuments: made.n_documents };
    await writeFile(join(folder, 'README.md'), datasetCard({ ...facts, made: metadata }));
    const { url } = await pushDataset(folder, {
      repo,
      revision,
      isPrivate: config.hf_is_private_repo,
      message: `Upload ${made.n_sequences} sequences of ${config.context_size} tokens with sae-lens-ts`,
      log,
      signal,
      onProgress: ({ path, sentBytes, totalBytes }) =>
        tell({ kind: 'upload', path, sent_bytes: sentBytes, total_bytes: totalBytes }),
    });
    // One that was only to be pushed has no other place.
    if (config.save_path === null) await rm(made.path, { recursive: true, force: true });
    return url;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
