/**
 * How libraries lay out the folder of an SAE, by SAELens' names for its converters: the file only this format has,
 * the others it needs, and those it may have. These names are data for us; nothing else is ever fetched or read
 * (promise P4). The worker has a reader for each (pyworker/saes/readers).
 */
export const SAE_FORMATS = {
  sae_lens: {
    weights: 'sae_weights.safetensors',
    needs: ['cfg.json'],
    may: ['sparsity.safetensors', 'runner_cfg.json'],
  },
  sparsify: { weights: 'sae.safetensors', needs: ['cfg.json'], may: [] },
  dictionary_learning_1: { weights: 'ae.pt', needs: ['config.json'], may: [] },
  gemma_2: { weights: 'params.npz', needs: [], may: [] },
  gemma_3: { weights: 'params.safetensors', needs: ['config.json'], may: [] },
  llama_scope: { weights: 'checkpoints/final.safetensors', needs: ['hyperparams.json'], may: [] },
} as const satisfies Record<string, { weights: string; needs: readonly string[]; may: readonly string[] }>;

export type SaeFormat = keyof typeof SAE_FORMATS;

const FORMATS = Object.keys(SAE_FORMATS) as SaeFormat[];

/** Every file a folder of this format may have, as a path below it. */
export function filesOfFormat(format: SaeFormat): readonly string[] {
  const { weights, needs, may } = SAE_FORMATS[format];
  return [...needs, weights, ...may];
}

/** Every file that an SAE of any format may have. */
export const FORMAT_FILES: readonly string[] = [...new Set(FORMATS.flatMap(filesOfFormat))];

/** The format of a folder with these files, and what it lacks; by its weights, else what SAELens would look for. */
export function recogniseFormat(files: readonly string[]): { format: SaeFormat; missing: string[] } {
  const format = FORMATS.find((one) => files.includes(SAE_FORMATS[one].weights)) ?? 'sae_lens';
  const { weights, needs } = SAE_FORMATS[format];
  return { format, missing: [...needs, weights].filter((name) => !files.includes(name)) };
}

/** The folders that hold the weights of an SAE, in a list of the paths of a repository. */
export function saeFoldersOf(paths: readonly string[]): string[] {
  const endings = FORMATS.map((format) => `/${SAE_FORMATS[format].weights}`);
  return paths.flatMap((path) => {
    const ending = endings.find((one) => path.endsWith(one));
    return ending === undefined ? [] : [path.slice(0, -ending.length)];
  });
}
