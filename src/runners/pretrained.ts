import { z } from 'zod';
import { Registry } from '../artifacts/registry.ts';
import type { SaeFormat } from '../artifacts/sae-format.ts';
import { callOptions } from '../sae/call-options.ts';

/** Published SAEs under one name. */
export interface ReleaseSummary {
  readonly release: string;
  readonly repo: string;
  /** The model whose activations they take. */
  readonly model: string;
  /** By SAELens' name for its converter; null where this version has no reader. */
  readonly format: SaeFormat | null;
  /** Folder in the repository, by the id that `SAE.fromPretrained` takes. */
  readonly saes: Readonly<Record<string, string>>;
}

const Given = z.object({
  filter: z.string(),
  options: z.strictObject({ registry: z.string().min(1).optional() }),
});

/**
 * The releases that come with this package and those of a file, by name.
 *
 * @param filter the name of one release, or a part of names, models or repositories; "" for all
 * @throws SaeLensError REGISTRY_INVALID, USAGE
 */
export async function pretrainedReleases(
  filter = '',
  options: { registry?: string | undefined } = {},
): Promise<ReleaseSummary[]> {
  const given = callOptions('list releases', Given, { filter, options });
  const registry = await Registry.read(given.options.registry);
  const summaries = (registry.has(filter) ? [filter] : registry.names).map((name): ReleaseSummary => {
    const { repo, model, format, saes } = registry.release(name);
    return {
      release: name,
      repo,
      model,
      format,
      saes: Object.fromEntries([...saes].map(([id, { path }]) => [id, path])),
    };
  });
  const word = filter.toLowerCase();
  return summaries.filter(({ release, repo, model }) =>
    [release, repo, model].some((text) => text.toLowerCase().includes(word)),
  );
}
