/** Layers, weakest first: each overrules the ones before it. */
export const LAYER_KINDS = ['preset', 'file', 'object', 'environment', 'flags'] as const;
export type LayerKind = (typeof LAYER_KINDS)[number];

/** Options from one place. */
export interface Layer {
  kind: LayerKind;
  /** For people: the name of the preset, the path of the file. */
  source: string;
  /** The options, in any vocabulary and nesting the schema knows. */
  value: unknown;
  /** Where a key of `value` was written, for messages. */
  at?: (path: readonly string[]) => string | undefined;
}

/** Where the final value of an option comes from. */
export interface Provenance {
  layer: LayerKind | 'default';
  source?: string;
  where?: string;
}

/** One option of one layer under its canonical path. */
export interface Setting {
  path: readonly string[];
  value: unknown;
  provenance: Provenance;
}

/** Settings by dotted canonical path. */
export type Settings = Map<string, Setting>;
