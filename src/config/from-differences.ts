import { isDeepStrictEqual } from 'node:util';
import { settingsOf } from './canonical.ts';
import { takenSettings } from './from-layer.ts';
import { OPTION_ROWS } from './generated/options.ts';
import type { Layer, Setting } from './layer.ts';
import { shortly } from './problem.ts';
import { put } from './put.ts';
import { type Resolution, resolveConfig } from './resolve.ts';

/** What a run cannot do without, so that defaults can be found: taken from the run that is compared. */
const NEEDED = new Set(['model_name', 'hook_name', 'dataset_path', 'sae.architecture', 'sae.d_in']);

const WIDTHS = new Set(['sae.d_in', 'sae.d_sae', 'sae.expansion_factor']);

/** An option for which a run to start from has another value than would be used without it. */
export interface Difference {
  /** Dotted path. */
  readonly option: string;
  /** The value of that run. */
  readonly theirs: unknown;
  /** What it replaces, the preset's value or the default, as text. */
  readonly instead: string;
  /** What a stronger layer makes of it, and which; null when the value of that run is used. */
  readonly overruled: { readonly value: unknown; readonly by: string } | null;
}

/** Where the settings of a run to start from differ from what is below them, and what is above them. */
export function differencesOf(
  { config, provenance }: Resolution,
  from: Layer,
  presets: readonly Layer[],
): Difference[] {
  const taken = takenSettings(settingsOf(from, []), from, []);
  const below = configBelow(taken, config, presets);
  const ofPreset = new Set(presets.flatMap((preset) => settingsOf(preset, [])).map(({ path }) => path.join('.')));
  return taken.flatMap(({ path, value: theirs }): Difference[] => {
    const option = path.join('.');
    const origin = provenance.get(option);
    if (origin === undefined) return [];
    const isUsed = origin.layer === 'from';
    const isOwn = NEEDED.has(option) && !ofPreset.has(option);
    const base = below === null || isOwn ? undefined : valueAt(below, path);
    const instead = isOwn ? '' : base === undefined ? defaultText(option) : shortly(base);
    // No width is no setting: it is read from the model, or d_sae says it.
    if (theirs === null && WIDTHS.has(option)) return [];
    const isSame = base === undefined ? instead === String(theirs) : isDeepStrictEqual(base, theirs);
    const value = valueAt(config, path);
    if (isSame && (isUsed || isDeepStrictEqual(value, base))) return [];
    const overruled = isUsed ? null : { value, by: origin.where ?? origin.source ?? `the ${origin.layer}` };
    return [{ option, theirs, instead, overruled }];
  });
}

/** The configuration without that run, where one can be made. */
function configBelow(taken: readonly Setting[], config: object, presets: readonly Layer[]): object | null {
  const value: Record<string, unknown> = {};
  for (const option of NEEDED) {
    const path = option.split('.');
    const theirs = taken.find((setting) => setting.path.join('.') === option);
    put(value, path, theirs === undefined ? valueAt(config, path) : theirs.value);
  }
  const needed: Layer = { kind: 'preset', source: 'what a run needs', value };
  try {
    return resolveConfig([needed, ...presets]).config;
  } catch {
    return null;
  }
}

const defaultText = (option: string): string => OPTION_ROWS.find(({ path }) => path === option)?.default ?? '';

const valueAt = (group: object, path: readonly string[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], group);
