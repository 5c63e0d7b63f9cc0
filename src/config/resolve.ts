import { adviceOn } from './advice.ts';
import { isFlatV5, settingsOf } from './canonical.ts';
import { derive } from './derive.ts';
import { takenSettings } from './from-layer.ts';
import { problemsOf } from './issues.ts';
import { LAYER_KINDS, type Layer, type Provenance, type Setting, type Settings, strength } from './layer.ts';
import { fitToArchitecture, v5Defaults } from './legacy.ts';
import { nearest } from './nearest.ts';
import { configError, type Problem, show } from './problem.ts';
import { put } from './put.ts';
import type { ParsedConfig, ResolvedConfig } from './resolved.ts';
import { checkRules } from './rules.ts';
import { idleSettings } from './rules-unused.ts';
import { runnerSchema } from './runner-schema.ts';
import { ARCHITECTURES, type Architecture, NOT_BUILT_YET, saeShapes, sharedSaeShape } from './sae-schema.ts';

/** A complete configuration and where each value came from. */
export interface Resolution {
  config: ResolvedConfig;
  /** By dotted path of the resolved configuration; every leaf has one. */
  provenance: ReadonlyMap<string, Provenance>;
  /** A line on each thing that was left out because something stronger, or its being a record, makes it idle. */
  notices: readonly string[];
}

/**
 * Merge layers, find every default, check everything.
 *
 * @throws SaeLensError `CONFIG_INVALID` with all problems at once (`details.problems`).
 */
export function resolveConfig(layers: readonly Layer[]): Resolution {
  const ordered = [...layers].sort((a, b) => LAYER_KINDS.indexOf(a.kind) - LAYER_KINDS.indexOf(b.kind));
  const problems: Problem[] = [];
  const notices: string[] = [];
  const given = ordered.map((layer) => {
    const settings = settingsOf(layer, problems);
    return layer.kind === 'from' ? takenSettings(settings, layer, notices) : settings;
  });
  const leftOut = [...notices];
  const base = ordered.find((layer) => layer.kind !== 'environment' && layer.kind !== 'flags');
  const isV5 = base !== undefined && base.kind !== 'preset' && isFlatV5(base.value);
  const { settings, architecture } = merge(given, isV5, problems);
  problems.push(...fitToArchitecture(settings, architecture, isV5, notices));
  const broken = new Set(problems.map((problem) => problem.path));

  const isSet = (path: string) => strength(settings.get(path)?.provenance) >= 0;
  const complete = (found: Problem[]) => {
    const parsed = parse(settings, architecture, found, broken);
    return { parsed, config: derive(parsed, isSet), isSet };
  };
  let context = complete(problems);
  problems.push(...checkRules(context, settings, broken));
  const idle = idleSettings(context, settings, broken);
  problems.push(...idle.problems);
  notices.push(...idle.notices);
  if (idle.dropped.length > 0) {
    for (const path of idle.dropped) settings.delete(path);
    context = complete([]);
  }

  problems.sort((a, b) => lineAndColumn(a) - lineAndColumn(b));
  if (problems.length > 0)
    throw configError(problems, placeOf(problems, ordered), [hintFor(problems), ...leftOut].join('; '));
  const { config } = context;
  notices.push(...adviceOn(config));
  return { config, provenance: provenanceOf(config, settings), notices };
}

/**
 * Check and complete a configuration given as an object, in any vocabulary.
 *
 * @param notice what was left out is told here; a warning of the process if there is nobody else.
 */
export function parseConfigObject(
  value: unknown,
  notice: (line: string) => void = (line) => process.emitWarning(line),
): ResolvedConfig {
  const { config, notices } = resolveConfig([{ kind: 'object', source: 'the configuration', value }]);
  notices.forEach(notice);
  return config;
}

function merge(given: Setting[][], isV5: boolean, problems: Problem[]) {
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

function provenanceOf(config: ResolvedConfig, settings: Settings): Map<string, Provenance> {
  const paths = Object.keys(config).flatMap((key) =>
    key === 'sae' || key === 'logger' ? Object.keys(config[key]).map((inner) => `${key}.${inner}`) : [key],
  );
  return new Map(paths.map((path) => [path, settings.get(path)?.provenance ?? { layer: 'default' }]));
}

/** Where in its file a problem is, as one number; problems from elsewhere come first. */
function lineAndColumn({ where }: Problem): number {
  const [, line = 0, column = 0] = /:(\d+):(\d+)$/.exec(where ?? '') ?? [];
  return Number(line) * 1e4 + Number(column);
}

/** Where to look first: the flags or the environment when all problems are there. */
function placeOf(problems: readonly Problem[], layers: readonly Layer[]): string {
  if (problems.every(({ where }) => where?.startsWith('--'))) return 'the command line';
  if (problems.every(({ where }) => where?.startsWith('SAE_LENS_TS_'))) return 'the environment';
  const named = layers.filter((layer) => ['file', 'object', 'preset', 'from'].includes(layer.kind));
  return named.at(-1)?.source ?? 'the options';
}

function hintFor(problems: readonly Problem[]): string {
  const option = problems.find(({ message }) => message !== 'is not an option')?.path;
  return option
    ? `read about an option with \`sae-lens-ts config explain ${option}\``
    : 'list the options with `sae-lens-ts train --help`';
}
