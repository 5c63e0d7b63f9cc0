import type { LanguageModelSAERunnerOptions } from '../classes.ts';
import type { Architecture } from '../sae-schema.ts';
import { advisedSae } from './advised-sae.ts';
import { gpt2BatchTopK } from './gpt2.ts';
import { PRESETS } from './index.ts';
import type { Preset } from './preset.ts';

/** What a person says of a run to begin with. */
export interface Answers {
  model_name: string;
  hook_name: string;
  architecture: Architecture;
  d_sae: number;
  dataset_path: string;
  training_tokens: number;
}

/** Of a schedule: they grow with the run. */
const STEP_OPTIONS = ['lr_warm_up_steps', 'lr_decay_steps', 'dead_feature_window', 'feature_sampling_window'] as const;

/** What a preset would answer. */
export function answersOf({ config }: Preset): Answers {
  const { model_name = '', hook_name = '', dataset_path = '', training_tokens = 0, sae } = config;
  const { d_sae, d_in, expansion_factor } = sae as { d_sae?: number; d_in?: number; expansion_factor?: number };
  const width = d_sae ?? (d_in ?? 0) * (expansion_factor ?? 0);
  return { model_name, hook_name, architecture: sae.architecture, d_sae: width, dataset_path, training_tokens };
}

/** The preset that comes nearest to a model and an architecture. */
export function presetFor(model: string, architecture?: Architecture): Preset {
  const ofModel = Object.values(PRESETS).filter(({ config, first }) => config.model_name === model && !first);
  return ofModel.find(({ config }) => config.sae.architecture === architecture) ?? ofModel[0] ?? gpt2BatchTopK;
}

/** A preset with the answers in it; what depends on them is found anew. */
export function presetWith(preset: Preset, answers: Answers): Preset {
  const { config } = preset;
  const before = answersOf(preset);
  const isOther = (key: keyof Answers): boolean => answers[key] !== before[key];
  const { architecture, d_sae, ...own } = answers;
  const changed: Partial<LanguageModelSAERunnerOptions> = {};
  const share = answers.training_tokens / before.training_tokens;
  for (const option of STEP_OPTIONS) {
    const steps = config[option];
    if (typeof steps === 'number') changed[option] = Math.max(1, Math.floor(steps * share));
  }
  const batch = config.train_batch_size_tokens ?? 4096;
  const steps = Math.floor(answers.training_tokens / batch);
  const isSame = !isOther('architecture') && !isOther('d_sae') && !isOther('training_tokens');
  const advised = isSame ? { sae: config.sae, why: {} } : advisedSae(architecture, d_sae, steps);
  const { d_in } = config.sae as { d_in?: number };
  // The width of another place is read from the model; what was said of this one is not said of that.
  const isHere = !isOther('model_name') && !isOther('hook_name');
  const sae = { ...advised.sae, architecture, ...(isHere && d_in !== undefined ? { d_in } : {}) };
  if (!isHere) delete (sae as { d_in?: number }).d_in;
  const stays = Object.entries({ ...preset.why, ...advised.why }).filter(([key]) => {
    const answer = key.replace(/^sae\./, '') as keyof Answers;
    if (key in changed && share !== 1) return false;
    return !(answer in answers && isOther(answer)) && (isHere || !PLACES.has(key));
  });
  const data = isOther('dataset_path') ? { is_dataset_tokenized: undefined } : {};
  const model = isOther('model_name') ? { model_class_name: undefined, model_from_pretrained_kwargs: undefined } : {};
  const whole = { ...config, ...model, ...data, ...changed, ...own, sae };
  const given = Object.entries(whole).filter(([, value]) => value !== undefined);
  return {
    ...preset,
    config: Object.fromEntries(given) as unknown as Preset['config'],
    why: Object.fromEntries(stays),
  };
}

/** Said of the place that a preset trains on. */
const PLACES = new Set(['sae.d_sae', 'training_tokens', 'model_from_pretrained_kwargs', 'eval_batch_size_prompts']);
