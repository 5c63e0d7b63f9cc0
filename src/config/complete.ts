import { nearest } from '../nearest.ts';
import { adviceOn } from './advice.ts';
import { derive } from './derive.ts';
import { problemsOf } from './issues.ts';
import { type Provenance, type Setting, type Settings, strength } from './layer.ts';
import { fitToArchitecture, v5Defaults } from './legacy.ts';
import { type Problem, show } from './problem.ts';
import { put } from './put.ts';
import type { ParsedConfig, ResolvedConfig } from './resolved.ts';
import { checkRules } from './rules.ts';
import { idleSettings } from './rules-unused.ts';
import { runnerSchema } from './runner-schema.ts';
import { ARCHITECTURES, type Architecture, NOT_BUILT_YET, saeShapes, sharedSaeShape } from './sae-schema.ts';

/** The configuration that settings make, and all that is wrong with it. */
export interface Completed {
  config: ResolvedConfig;
  /** What was used of the settings, by dotted path. */
  settings: Settings;
  problems: Problem[];
  notices: string[];
  /** Paths whose problem is that they have no effect here. */
  unused: ReadonlySet<string>;
  /** Paths that the schema refuses, whatever the other options are. */
  refused: ReadonlySet<string>;
}

/** Merge the settings of layers, weakest first, find every default, check everything. */
export function complete(given: readonly Setting[][], isV5: boolean, known: readonly Problem[] = []): Completed {
  const problems: Problem[] = [...known];
  const notices: string[] = [];
  const { settings, architecture } = merge(given, isV5, problems);
  const unfit = fitToArchitecture(settings, architecture, isV5, notices);
  problems.push(...unfit);
  const broken = new Set(problems.map((problem) => problem.path));
  const before = new Set(broken);

  const isSet = (path: string) => strength(settings.get(path)?.provenance) >= 0;
  const find = (found: Problem[]) => {
    const parsed = parse(settings, architecture, found, broken);
    return { parsed, config: derive(parsed, isSet), isSet };
  };
  let context = find(problems);
  const refused = new Set([...broken].filter((path) => !before.has(path)));
  problems.push(...checkRules(context, settings, broken));
  const idle = idleSettings(context, settings, broken);
  problems.push(...idle.problems);
  notices.push(...idle.notices);
  if (idle.dropped.length > 0) {
    for (const path of idle.dropped) settings.delete(path);
    context = find([]);
  }
  notices.push(...adviceOn(context.config));
  const unused = new Set([...unfit, ...idle.problems].map(({ path }) => path));
  return { config: context.config, settings, problems: problems.slice(known.length), notices, unused, refused };
}

function merge(given: readonly Setting[][], isV5: boolean, problems: Problem[]) {
  const architectures = given.flat().filter((setting) => setting.path.join('.') === 'sae.architecture');
  for (const { value, provenance } of architectures) {
    // Of a run to start from it may be overruled.
    if (isBuilt(value) || (provenance.layer === 'from' && architectures.at(-1)?.provenance.layer !== 'from')) continue;
    const close = nearest(String(value), ARCHITECTURES);
    const known = NOT_BUILT_YET.includes(String(value));
    problems.push({
      path: 'sae.architecture',
      value,
      message: known
        ? `architecture ${value} is not built yet`
        : `${show(value)} is not one of ${ARCHITECTURES.join(', ')}`,
      ...(known ? { hint: `use ${ARCHITECTURES.join(', ')}` } : close ? { hint: `did you mean ${close}?` } : {}),
      ...(provenance.where === undefined ? {} : { where: provenance.where }),
    });
  }
  const chosen = architectures.findLast(({ value }) => isBuilt(value));
  const architecture = (chosen?.value ?? 'standard') as Architecture;
  const settings: Settings = new Map();
  const put = (setting: Setting) => settings.set(setting.path.join('.'), setting);
  if (isV5) v5Defaults(architecture).forEach(put);
  let current: unknown;
  for (const layer of given) {
    const next = layer.findLast((setting) => setting.path.join('.') === 'sae.architecture')?.value ?? current;
    // Another architecture replaces what only the former one has; what both have stays.
    if (current !== undefined && next !== current) {
      for (const path of settings.keys()) {
        const [group, key = ''] = path.split('.');
        if (group === 'sae' && !(key in saeShapes[architecture])) settings.delete(path);
      }
    }
    current = next;
    layer.forEach(put);
  }
  // What belongs to an architecture we cannot judge is not judged by another's options.
  if (architectures.length > 0 && !isBuilt(architectures.at(-1)?.value)) {
    for (const [path, { path: keys }] of settings) {
      if (keys[0] === 'sae' && !((keys[1] ?? '') in sharedSaeShape)) settings.delete(path);
    }
  }
  settings.set('sae.architecture', {
    path: ['sae', 'architecture'],
    value: architecture,
    provenance: chosen?.provenance ?? { layer: 'default' },
  });
  return { settings, architecture };
}

function isBuilt(architecture: unknown): boolean {
  return (ARCHITECTURES as unknown[]).includes(architecture);
}

/** Run the schema; options it refuses are reported and fall back to their default, so that rules see the others. */
function parse(settings: Settings, architecture: Architecture, problems: Problem[], broken: Set<string>): ParsedConfig {
  const first = runnerSchema.safeParse(nest(settings));
  if (first.success) return first.data;
  problems.push(...problemsOf(first.error.issues, settings, architecture));
  const sound: Settings = new Map(settings);
  const refuse = (path: string) => {
    broken.add(path);
    sound.delete(path);
  };
  for (const issue of first.error.issues) {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : [''];
    for (const key of keys) {
      const path = [...issue.path.map(String), ...(key ? [key] : [])];
      refuse(path.slice(0, path[0] === 'sae' || path[0] === 'logger' ? 2 : 1).join('.'));
    }
  }
  return runnerSchema.parse(nest(sound));
}

function nest(settings: Settings): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const { path, value } of settings.values()) put(result, path, value);
  return result;
}

/** By dotted path of the configuration of one SAE; every leaf has one. */
export function provenanceOf(config: ResolvedConfig, settings: Settings): Map<string, Provenance> {
  const paths = Object.keys(config).flatMap((key) =>
    key === 'sae' || key === 'logger' ? Object.keys(config[key]).map((inner) => `${key}.${inner}`) : [key],
  );
  return new Map(paths.map((path) => [path, settings.get(path)?.provenance ?? { layer: 'default' }]));
}
