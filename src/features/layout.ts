// What lies in a folder of features, from which its page reads all it shows. The folder opens from disk, where a page
// may not fetch: every file of data is a script that calls `globalThis.saeLensFeatures(KIND, VALUE)` once.
//
//   manifest.json          what is in the folder, with digests; written last
//   data/about.js          kind `about`: About
//   data/latents.js        kind `latents`: LatentTable
//   data/chunk-00000.js …  kind `chunk`: LatentDetail[], of `latents_per_chunk` rows of the table each
//
// The latent in row r of the table is element `r % latents_per_chunk` of chunk `floor(r / latents_per_chunk)`.

/** Version of this format: a page shows no other. */
export const FEATURES_FORMAT = 1;

/** The global function that each file of data calls with its kind and its value. */
export const FEATURES_CALL = 'saeLensFeatures';

/** Name of the script with the n-th chunk, in `data/`. */
export const chunkName = (n: number): string => `chunk-${String(n).padStart(5, '0')}.js`;
