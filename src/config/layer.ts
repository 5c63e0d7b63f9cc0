/** Layers, weakest first: each overrules the ones before it. */
export const LAYER_KINDS = ['preset', 'from', 'file', 'object', 'environment', 'flags'] as const;
export type LayerKind = (typeof LAYER_KINDS)[number];

/** How strong the layer of a setting is; no layer, or a default, is weaker than all. */
export function strength(provenance: Provenance | undefined): number {
  return LAYER_KINDS.indexOf(provenance?.layer as LayerKind);
}

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
  /** Of a file that SAELens wrote, where every option stands whether somebody chose it or not. */
  recorded?: true;
}

/** Settings by dotted canonical path. */
export type Settings = Map<string, Setting>;
