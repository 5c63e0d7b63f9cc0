import type { CacheManifest } from './activation-cache.ts';

/** How somebody gets a cache from the hub and trains on it. */
export interface CacheUse {
  readonly repo: string;
  /** Where the files go there. */
  readonly folder: string;
  /** The command that trains on them. */
  readonly command: string;
}

/** The card of a cache on the hub: without its first lines the hub would take the JSON files for the data. */
export function activationCacheCard(manifest: CacheManifest, { repo, folder, command }: CacheUse): string {
  const { model_name, dataset_path, hook_names, d_in, dtype, context_size, n_tokens } = manifest;
  const rows = hook_names.map((hook) => `| \`${hook}\` | ${d_in[hook]} |`);
  return `---
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
hf download ${repo} --repo-type dataset --local-dir ${folder}
${command}
\`\`\`

\`cache_activations_runner_cfg.json\` has every option, \`manifest.json\` the checksums: \`sae-lens-ts cache verify ${folder}\`.
`;
}
