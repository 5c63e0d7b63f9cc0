import { nearest } from '../../nearest.ts';
import type { Layer } from '../layer.ts';
import { configError } from '../problem.ts';
import { cachedActivations } from './cached-activations.ts';
import { demo } from './demo.ts';
import { gemma22b } from './gemma-2-2b.ts';
import { gpt2BatchTopK, gpt2JumpReLU, gpt2TopK } from './gpt2.ts';
import type { Preset } from './preset.ts';
import { tinyStories1L21M } from './tiny-stories-1l-21m.ts';

/** Presets by name. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  demo,
  'cached-activations': cachedActivations,
  'tiny-stories-1L-21M': tinyStories1L21M,
  'gpt2-topk': gpt2TopK,
  'gpt2-batchtopk': gpt2BatchTopK,
  'gpt2-jumprelu': gpt2JumpReLU,
  'gemma-2-2b': gemma22b,
};

/** @throws SaeLensError `CONFIG_INVALID` naming the nearest one */
export function presetNamed(name: string, where = '--preset'): Preset {
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
  if (preset !== undefined) return preset;
  const close = nearest(name, Object.keys(PRESETS));
  const message = `"${name}" is not one of ${Object.keys(PRESETS).join(', ')}`;
  const problem = { path: 'preset', value: name, message, where };
  throw configError([close ? { ...problem, hint: `did you mean ${close}?` } : problem], 'the options');
}

/** A preset as the lowest layer. */
export function presetLayer(name: string): Layer {
  return { kind: 'preset', source: name, value: presetNamed(name).config };
}
