import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { nearest } from '../nearest.ts';
import { cacheActivationsSchema } from './cache-activations-schema.ts';
import { cachePlace, loadingArguments } from './derive.ts';
import { evalSchema } from './evals-schema.ts';
import { featuresSchema } from './features-schema.ts';
import { describe } from './issues.ts';
import { LAYER_KINDS, type Layer, type Provenance } from './layer.ts';
import { pretokenizeSchema } from './pretokenize-schema.ts';
import { configError, type Problem } from './problem.ts';
import type { Filled } from './resolved.ts';
import { evalRules } from './rules-eval.ts';
import { featuresRules } from './rules-features.ts';
import { cacheActivationsRules, type OptionsRule, pretokenizeRules } from './rules-runners.ts';

/** What each runner with flat options is configured with. */
export interface RunnerOptions {
  pretokenize: z.output<typeof pretokenizeSchema>;
  'cache-activations': Filled<
    z.output<typeof cacheActivationsSchema>,
    'model_from_pretrained_kwargs' | 'new_cached_activations_path'
  >;
  eval: z.output<typeof evalSchema>;
  features: z.output<typeof featuresSchema>;
}
export type RunnerKind = keyof RunnerOptions;

const SCHEMAS = {
  pretokenize: pretokenizeSchema,
  'cache-activations': cacheActivationsSchema,
  eval: evalSchema,
  features: featuresSchema,
};
const RULES: { [K in RunnerKind]: readonly OptionsRule<RunnerOptions[K]>[] } = {
  pretokenize: pretokenizeRules,
  'cache-activations': cacheActivationsRules,
  eval: evalRules,
  features: featuresRules,
};

/** The defaults that depend on other options. */
const FILL: { [K in RunnerKind]: (parsed: z.output<(typeof SCHEMAS)[K]>) => RunnerOptions[K] } = {
  pretokenize: (parsed) => parsed,
  'cache-activations': (parsed) => ({
    ...parsed,
    model_from_pretrained_kwargs: parsed.model_from_pretrained_kwargs ?? loadingArguments(parsed.model_class_name),
    new_cached_activations_path: parsed.new_cached_activations_path ?? cachePlace(parsed),
  }),
  eval: (parsed) => parsed,
  features: (parsed) => parsed,
};

/** The options of a runner, complete, and where each value came from. */
export interface OptionsResolution<K extends RunnerKind> {
  config: RunnerOptions[K];
  /** By option; every one is there. */
  provenance: ReadonlyMap<string, Provenance>;
}

/**
 * Merge layers, fill in defaults, check everything: what {@link resolveConfig} is for training, for the runners
 * whose options are flat.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once (`details.problems`).
 */
export function resolveOptions<K extends RunnerKind>(kind: K, layers: readonly Layer[]): OptionsResolution<K> {
  const ordered = [...layers].sort((a, b) => LAYER_KINDS.indexOf(a.kind) - LAYER_KINDS.indexOf(b.kind));
  const place = ordered.find(({ kind: one }) => one === 'file' || one === 'object')?.source ?? 'the options';
  const schema = SCHEMAS[kind];
  const known = Object.keys(schema.shape);
  const values: Record<string, unknown> = {};
  const given = new Map<string, Provenance>();
  const problems: Problem[] = [];
  for (const layer of ordered) {
    if (typeof layer.value !== 'object' || layer.value === null || Array.isArray(layer.value)) {
      problems.push({ path: '', message: `${layer.source} holds no options: expected keys with values` });
      continue;
    }
    for (const [key, value] of Object.entries(layer.value)) {
      if (value === undefined) continue;
      const where = layer.at?.([key]);
      const provenance = { layer: layer.kind, source: layer.source, ...(where === undefined ? {} : { where }) };
      if (!known.includes(key)) {
        const close = nearest(key, known);
        const hint = close ? `did you mean ${close}?` : `list the options with \`sae-lens-ts ${kind} --help\``;
        problems.push({ path: key, value, message: 'is not an option', hint, ...(where ? { where } : {}) });
        continue;
      }
      values[key] = value;
      given.set(key, provenance);
    }
  }
  const parsed = schema.safeParse(values);
  for (const issue of parsed.error?.issues ?? []) {
    const key = String(issue.path[0]);
    const where = given.get(key)?.where;
    const text = given.has(key) ? describe(issue, values[key]) : { message: 'must be given' };
    problems.push({ path: issue.path.join('.'), value: values[key], ...text, ...(where ? { where } : {}) });
  }
  // A default that is said aloud asks for nothing: so a resolved configuration resolves to itself.
  const defaultOf = (key: string): unknown => schema.shape[key as keyof typeof schema.shape].safeParse(undefined).data;
  const config = parsed.success ? FILL[kind](parsed.data as never) : undefined;
  if (config !== undefined) {
    for (const rule of RULES[kind]) {
      const found = rule(config, (key) => given.has(key) && !isDeepStrictEqual(values[key], defaultOf(key)));
      if (found === undefined) continue;
      const where = given.get(found.path)?.where;
      problems.push({ ...found, ...(where ? { where } : {}) });
    }
  }
  const read = `read about the options with \`sae-lens-ts ${kind} --help\``;
  if (problems.length > 0 || config === undefined) throw configError(problems, place, read);
  return {
    config,
    provenance: new Map(known.map((key) => [key, given.get(key) ?? { layer: 'default' }])),
  };
}
