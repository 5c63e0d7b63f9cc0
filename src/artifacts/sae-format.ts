interface Layout {
  /** Only this format has one of these; the first that is there counts. */
  weights: readonly string[];
  /** What it needs beside them. */
  needs: readonly string[];
  /** What it may have. */
  may: readonly string[];
}

/**
 * How libraries lay out the folder of an SAE, by SAELens' names for its converters. The names are data for us; nothing
 * else is ever fetched or read (promise P4). The worker has a reader for each (pyworker/saes/readers).
 */
export const SAE_FORMATS = {
  sae_lens: {
    weights: ['sae_weights.safetensors'],
    needs: ['cfg.json'],
    may: ['sparsity.safetensors', 'runner_cfg.json'],
  },
  sparsify: { weights: ['sae.safetensors'], needs: ['cfg.json'], may: [] },
  dictionary_learning_1: { weights: ['ae.safetensors', 'ae.pt'], needs: ['config.json'], may: [] },
  gemma_2: { weights: ['params.npz'], needs: [], may: [] },
  gemma_3: { weights: ['params.safetensors'], needs: ['config.json'], may: [] },
  llama_scope: { weights: ['checkpoints/final.safetensors'], needs: ['hyperparams.json'], may: [] },
} as const satisfies Record<string, Layout>;

export type SaeFormat = keyof typeof SAE_FORMATS;

const LAYOUTS = Object.entries(SAE_FORMATS) as [SaeFormat, Layout][];

/** Every file that an SAE of any format may have, as a path below its folder. */
export const FORMAT_FILES: readonly string[] = [
  ...new Set(LAYOUTS.flatMap(([, { weights, needs, may }]) => [...needs, ...weights, ...may])),
];

/** Whether a file of an SAE folder holds its weights. */
export const isWeights = (file: string): boolean => LAYOUTS.some(([, { weights }]) => weights.includes(file));

/**
 * The format of a folder with these files, by its weights: which of the files belong to it and what is missing. Without
 * weights it lacks what SAELens would look for.
 */
export function recogniseFormat(files: readonly string[]): { format: SaeFormat; files: string[]; missing: string[] } {
  const has = (name: string): boolean => files.includes(name);
  const found = LAYOUTS.find(([, { weights }]) => weights.some(has)) ?? LAYOUTS[0];
  const [format, { weights, needs, may }] = found as [SaeFormat, Layout];
  const needed = [...needs, weights.find(has) ?? (weights[0] as string)];
  return {
    format,
    files: [...needed, ...may].filter(has),
    missing: needed.filter((name) => !has(name)),
  };
}

/** The folders that hold the weights of an SAE, in a list of the paths of a repository. */
export function saeFoldersOf(paths: readonly string[]): string[] {
  const endings = LAYOUTS.flatMap(([, { weights }]) => weights.map((name) => `/${name}`));
  const folders = paths.flatMap((path) => {
    const ending = endings.find((one) => path.endsWith(one));
    return ending === undefined ? [] : [path.slice(0, -ending.length)];
  });
  return [...new Set(folders)];
}
