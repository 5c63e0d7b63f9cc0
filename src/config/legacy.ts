import { isDeepStrictEqual } from 'node:util';
import { architecturesWith, loggingOptions, runnerOptions, saeOptions } from './keys.ts';
import { type Setting, type Settings, strength } from './layer.ts';
import { metaOf } from './option.ts';
import { type Problem, show } from './problem.ts';
import { type Architecture, saeShapes } from './sae-schema.ts';

/** Defaults of a flat 5.x configuration, as settings below every layer. */
export function v5Defaults(architecture: Architecture): Setting[] {
  const groups: [string[], Record<string, Parameters<typeof metaOf>[0]>][] = [
    [[], runnerOptions],
    [['logger'], loggingOptions],
    [['sae'], saeShapes[architecture]],
  ];
  return groups.flatMap(([prefix, options]) =>
    Object.entries(options)
      .filter(([, schema]) => metaOf(schema).v5 !== undefined)
      .map(([key, schema]) => ({
        path: [...prefix, key],
        value: metaOf(schema).v5,
        provenance: { layer: 'default' as const, source: 'SAELens 5.x' },
      })),
  );
}

/** SAELens 5 wrote these for every architecture, and only the one that has them ever read them. */
const WRITTEN_FOR_ALL = new Set([
  'l1_coefficient',
  'l1_warm_up_steps',
  'lp_norm',
  'scale_sparsity_penalty_by_decoder_norm',
  'jumprelu_init_threshold',
  'jumprelu_bandwidth',
]);

/** Values with which an option says nothing that the other architectures do not do anyway. */
const NOTHING_ASKED: Readonly<Record<string, readonly unknown[]>> = {
  use_ghost_grads: [false],
  activation_fn: ['relu', null],
  activation_fn_kwargs: [{}, null],
  scale_sparsity_penalty_by_decoder_norm: [false, null],
};

/**
 * Fit the SAE settings to the architecture: give 5.x options the name they have there, drop what asks for nothing,
 * and report what cannot have an effect. Works on the merged settings.
 *
 * @param notices gets a line on what a file of SAELens 5 holds in vain.
 */
export function fitToArchitecture(
  settings: Settings,
  architecture: Architecture,
  isV5: boolean,
  notices: string[],
): Problem[] {
  const problems: Problem[] = [];
  if (architecture === 'jumprelu' && isV5) {
    rename(settings, 'sae.l1_coefficient', 'l0_coefficient');
    rename(settings, 'sae.l1_warm_up_steps', 'l0_warm_up_steps');
  }
  if (architecture === 'topk') problems.push(...takeKFromActivation(settings));
  const inVain: Setting[] = [];
  for (const [path, setting] of settings) {
    const key = setting.path[1] ?? '';
    if (setting.path[0] !== 'sae' || key === 'architecture' || key in saeShapes[architecture]) continue;
    if (!(key in saeOptions)) continue;
    settings.delete(path);
    if (asksForNothing(key, setting.value, architecture, isV5)) continue;
    if (isV5 && setting.recorded && WRITTEN_FOR_ALL.has(key)) {
      inVain.push(setting);
      continue;
    }
    problems.push({
      path,
      value: setting.value,
      message: `has no effect with architecture ${architecture}: it belongs to ${architecturesWith(key).join(', ')}`,
      hint: counterpart(key, architecture) ?? `remove ${key}, or choose another architecture`,
      ...(setting.provenance.where ? { where: setting.provenance.where } : {}),
    });
  }
  if (inVain.length > 0) {
    const keys = inVain.map(({ path }) => path[1]).join(', ');
    notices.push(
      `${inVain[0]?.provenance.source}: left out what has no effect with architecture ${architecture}: ${keys}`,
    );
  }
  return problems;
}

/** Flat 5.x files name every option of every architecture: their defaults ask for nothing. */
function asksForNothing(key: string, value: unknown, architecture: Architecture, isV5: boolean): boolean {
  if (NOTHING_ASKED[key]?.some((nothing) => isDeepStrictEqual(nothing, value))) return true;
  // The gate's penalty is always weighted by the decoder norms.
  if (key === 'scale_sparsity_penalty_by_decoder_norm' && architecture === 'gated') return true;
  if (!isV5) return false;
  const schema = saeOptions[key];
  if (schema === undefined) return false;
  const v5 = metaOf(schema).v5;
  return isDeepStrictEqual(value, v5 === undefined ? schema.parse(undefined) : v5);
}

function counterpart(key: string, architecture: Architecture): string | undefined {
  const twin = key.startsWith('l1_') ? key.replace('l1_', 'l0_') : key.replace('l0_', 'l1_');
  return twin !== key && twin in saeShapes[architecture] ? `use ${twin}` : undefined;
}

function rename(settings: Settings, from: string, key: string): void {
  const setting = settings.get(from);
  if (setting === undefined) return;
  settings.delete(from);
  const to = `sae.${key}`;
  if (!settings.has(to) || settings.get(to)?.provenance.layer === 'default') {
    settings.set(to, { ...setting, path: ['sae', key] });
  }
}

/** In 5.x the k of a top-k SAE was an argument of its activation function. */
function takeKFromActivation(settings: Settings): Problem[] {
  const activation = settings.get('sae.activation_fn');
  const kwargs = settings.get('sae.activation_fn_kwargs');
  settings.delete('sae.activation_fn');
  settings.delete('sae.activation_fn_kwargs');
  const problems: Problem[] = [];
  const report = (setting: Setting, path: string, message: string, hint: string) => {
    const { where } = setting.provenance;
    problems.push({ path, value: setting.value, message, hint, ...(where ? { where } : {}) });
  };
  if (activation && activation.value !== 'topk' && activation.value !== null) {
    report(
      activation,
      'sae.activation_fn',
      `${show(activation.value)} cannot go with architecture topk`,
      'remove it or write topk',
    );
  }
  if (kwargs && kwargs.value !== null) {
    const { k, ...others } = kwargs.value as { k?: unknown };
    if (k === undefined || Object.keys(others).length > 0) {
      report(
        kwargs,
        'sae.activation_fn_kwargs',
        `${show(kwargs.value)} must hold k and nothing else`,
        'use the option k',
      );
      return problems;
    }
    const own = settings.get('sae.k');
    const difference = strength(kwargs.provenance) - strength(own?.provenance);
    if (own !== undefined && difference === 0 && own.value !== k) {
      report(
        kwargs,
        'sae.activation_fn_kwargs',
        `${show(kwargs.value)} and k = ${show(own.value)} are the same option`,
        'keep one of them',
      );
    } else if (difference > 0) settings.set('sae.k', { ...kwargs, path: ['sae', 'k'], value: k });
  }
  return problems;
}
