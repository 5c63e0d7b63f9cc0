import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { CACHE_CONFIG_NAME, type CacheManifest, type DamagedShard } from './activation-cache.ts';
import { MANIFEST_NAME } from './manifest.ts';

const INFO_NAME = 'dataset_info.json';
const STATE_NAME = 'state.json';
/** What a run found whole (pyworker/data/activation_cache_checksums.py), and the card of the hub. */
const BESIDE = ['.verified.json', 'README.md'];

const Info = z.object({ features: z.record(z.string(), z.unknown()) });
const State = z.object({ _data_files: z.array(z.object({ filename: z.string() })) });
const Made = z.record(z.string(), z.unknown());

/**
 * Holds the JSON files with which the folder is a dataset, and the options beside it, against the manifest.
 *
 * @returns those that are gone, are no JSON, or speak of another cache
 */
export async function damagedDatasetFiles(folder: string, manifest: CacheManifest): Promise<DamagedShard[]> {
  const { d_in, hook_names, dtype, n_tokens, n_sequences, seed, shards } = manifest;
  const stored = dtype === 'bfloat16' ? 'float32' : dtype;
  const shape = (hook: string) => [n_tokens / n_sequences, d_in[hook]];
  const problems = [
    await problemOf(folder, INFO_NAME, Info, ({ features }) => {
      const wrong = hook_names.find((hook) => {
        const seen = features[hook] as { shape?: unknown; dtype?: unknown } | undefined;
        return !isDeepStrictEqual(seen?.shape, shape(hook)) || seen?.dtype !== stored;
      });
      return wrong === undefined ? null : `its column ${wrong} is not ${stored} of ${shape(wrong).join(' × ')}`;
    }),
    await problemOf(folder, STATE_NAME, State, ({ _data_files }) => {
      const named = _data_files.map(({ filename }) => filename);
      const files = shards.map(({ file }) => file);
      return isDeepStrictEqual(named, files) ? null : `it does not name the ${files.length} files of ${MANIFEST_NAME}`;
    }),
    await problemOf(folder, CACHE_CONFIG_NAME, Made, (made) =>
      made.seed === seed && made.dtype === dtype && isDeepStrictEqual([made.hook_name].flat(), hook_names)
        ? null
        : `its hook_name, dtype or seed is not that of ${MANIFEST_NAME}`,
    ),
  ];
  return problems.flat();
}

/** What lies in the folder of a cache and is none of its files. */
export async function unknownFiles(folder: string, { shards }: CacheManifest): Promise<string[]> {
  const known = new Set([INFO_NAME, STATE_NAME, CACHE_CONFIG_NAME, MANIFEST_NAME, ...BESIDE]);
  for (const { file } of shards) known.add(file);
  return (await readdir(folder)).filter((name) => !known.has(name)).sort();
}

async function problemOf<S extends z.ZodType>(
  folder: string,
  file: string,
  schema: S,
  problem: (value: z.output<S>) => string | null,
): Promise<DamagedShard[]> {
  let reason: string | null;
  try {
    reason = problem(schema.parse(JSON.parse(await readFile(join(folder, file), 'utf8'))));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    reason = code === 'ENOENT' ? 'it is missing' : error instanceof z.ZodError ? z.prettifyError(error) : message;
  }
  return reason === null ? [] : [{ file, reason }];
}
