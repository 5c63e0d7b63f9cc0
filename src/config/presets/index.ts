import type { Layer } from '../layer.ts';
import { nearest } from '../nearest.ts';
import { configError } from '../problem.ts';
import { demo } from './demo.ts';
import type { Preset } from './preset.ts';
import { tinyStories1L21M } from './tiny-stories-1l-21m.ts';

/** Presets by name. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  demo,
  'tiny-stories-1L-21M': tinyStories1L21M,
};

/** A preset as the lowest layer. */
export function presetLayer(name: string): Layer {
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
  if (preset === undefined) {
    const close = nearest(name, Object.keys(PRESETS));
    const message = `"${name}" is not one of ${Object.keys(PRESETS).join(', ')}`;
    const problem = { path: 'preset', value: name, message, where: '--preset' };
    throw configError([close ? { ...problem, hint: `did you mean ${close}?` } : problem], 'the options');
  }
  return { kind: 'preset', source: name, value: preset.config };
}
