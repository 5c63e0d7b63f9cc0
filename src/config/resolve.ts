import { isFlatV5, settingsOf } from './canonical.ts';
import { type Completed, complete, provenanceOf } from './complete.ts';
import { takenSettings } from './from-layer.ts';
import { LAYER_KINDS, type Layer, type Provenance } from './layer.ts';
import { configError, type Problem } from './problem.ts';
import { completeSaes } from './resolve-saes.ts';
import type { ResolvedConfig } from './resolved.ts';

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
  const found = given.flat().some(({ path }) => path[0] === 'saes')
    ? completeSaes(given, isV5, problems)
    : alone(complete(given, isV5, problems));
  problems.push(...found.problems);
  notices.push(...found.notices);

  problems.sort((a, b) => lineAndColumn(a) - lineAndColumn(b));
  if (problems.length > 0)
    throw configError(problems, placeOf(problems, ordered), [hintFor(problems), ...leftOut].join('; '));
  return { config: found.config, provenance: found.provenance, notices };
}

function alone({ config, settings, problems, notices }: Completed) {
  return { config, provenance: provenanceOf(config, settings), problems, notices };
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
    ? `read about an option with \`sae-lens-ts explain ${option}\``
    : 'list the options with `sae-lens-ts train --help`';
}
