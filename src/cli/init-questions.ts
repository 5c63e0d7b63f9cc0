import { existsSync } from 'node:fs';
import { confirm, isCancel, select, text } from '@clack/prompts';
import { type Answers, answersOf, presetFor } from '../config/presets/answers.ts';
import { PRESETS, presetNamed } from '../config/presets/index.ts';
import { ARCHITECTURES, type Architecture } from '../config/sae-schema.ts';
import { SaeLensError } from '../errors.ts';
import type { InitOptions } from '../runners/init.ts';

/** What is asked when none of the models that presets have is meant. */
const OTHER = '';

/**
 * Asks what to train: the model, where in it, what SAE, on what text.
 *
 * @throws SaeLensError INTERRUPTED when the person leaves
 */
export async function askInit(file: string, presetName: string | undefined, force: boolean): Promise<InitOptions> {
  const given = presetName === undefined ? undefined : presetNamed(presetName, '--template');
  const replace = force || (existsSync(file) && (await asked(confirm({ message: `Replace ${file}?` }))));
  const models = [...new Set(Object.values(PRESETS).map(({ config }) => config.model_name ?? ''))];
  const options = models.map((value) => ({ value, label: value }));
  let model: string = await asked(
    select({
      message: 'Which language model?',
      options: [
        ...options,
        { value: OTHER, label: 'another', hint: 'of TransformerLens or Hugging Face, or a folder' },
      ],
      initialValue: given?.config.model_name ?? 'gpt2',
    }),
  );
  if (model === OTHER) model = await words('Its name or folder?', '');
  const start = given !== undefined && given.config.model_name === model ? given : presetFor(model);
  const offered = answersOf(start);
  const isKnown = start.config.model_name === model;
  const hook = await words(
    `Where in it? (\`sae-lens-ts hooks ${model}\` lists the hook points)`,
    isKnown ? offered.hook_name : 'blocks.0.hook_resid_post',
  );
  const architecture: Architecture = await asked(
    select({
      message: 'What kind of SAE?',
      options: ARCHITECTURES.map((value) => ({ value, label: value })),
      initialValue: offered.architecture,
    }),
  );
  const preset = given === undefined && isKnown ? presetFor(model, architecture) : start;
  const answers: Answers = {
    model_name: model,
    hook_name: hook,
    architecture,
    d_sae: await amount('How many latents?', answersOf(preset).d_sae),
    dataset_path: await words('Trained on what text? (a dataset of the hub, a folder or a file)', offered.dataset_path),
    training_tokens: await amount('How many tokens of it?', offered.training_tokens),
  };
  return { preset, answers, force: replace };
}

const words = async (message: string, initialValue: string): Promise<string> =>
  asked(text({ message, initialValue, validate: (value) => (value?.trim() ? undefined : 'write something') }));

async function amount(message: string, initial: number): Promise<number> {
  const validate = (value = ''): string | undefined =>
    Number.isSafeInteger(numberOf(value)) && numberOf(value) > 0
      ? undefined
      : 'a whole number, for example 24576 or 2e8';
  return numberOf(await asked(text({ message, initialValue: String(initial), validate })));
}

/** 200 000 000 · 200_000_000 · 2e8 */
const numberOf = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text.replace(/[\s_,]/g, '')));

async function asked<T>(answer: Promise<T>): Promise<Exclude<T, symbol>> {
  const value = await answer;
  if (isCancel(value)) throw new SaeLensError('INTERRUPTED', 'Nothing was written');
  return value as Exclude<T, symbol>;
}
