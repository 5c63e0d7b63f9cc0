import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CacheManifest } from './activation-cache.ts';
import { writeFileAtomic } from './atomic.ts';

/**
 * Writes the card of a cache that goes to the hub, unless there is one: without its first lines the hub would take the
 * JSON files for the data.
 */
export async function writeCacheCard(folder: string, repo: string, manifest: CacheManifest): Promise<void> {
  const path = join(folder, 'README.md');
  if (existsSync(path)) return;
  const { model_name, dataset_path, hook_names, d_in, dtype, context_size, n_tokens } = manifest;
  const rows = hook_names.map((hook) => `| \`${hook}\` | ${d_in[hook]} |`);
  const text = `---
tags:
- saelens
- activations
configs:
- config_name: default
  data_files:
  - split: train
    path: data-*.arrow
---

# Activations of ${model_name}

${n_tokens} tokens of ${dataset_path}, read in sequences of ${context_size}, as ${dtype}.

| hook | width |
| --- | --- |
${rows.join('\n')}

Train on them with SAELens or sae-lens-ts: download the files to a folder and name it.

\`\`\`bash
hf download ${repo} --repo-type dataset --local-dir activations
sae-lens-ts train --use_cached_activations true --cached_activations_path activations --hook_name ${hook_names[0]}
\`\`\`

\`cache_activations_runner_cfg.json\` has every option, \`manifest.json\` the checksums: \`sae-lens-ts cache verify activations\`.
`;
  await writeFileAtomic(path, text);
}
