import { describe, expect, test } from 'vitest';
import { type Difference, differencesOf, fromLayer, presetLayer, resolveConfig } from '../../../src/config/index.ts';
import type { SaeLensError } from '../../../src/errors.ts';

/** As SAELens 6 writes runner_cfg.json. */
const RUN = {
  model_name: 'tiny',
  hook_name: 'blocks.0.hook_resid_post',
  dataset_path: 'theirs/text',
  training_tokens: 1_000_000,
  lr: 4e-4,
  device: 'cuda:3',
  checkpoint_path: '/theirs/checkpoints',
  verbose: true,
  dataset_trust_remote_code: true,
  model_from_pretrained_kwargs: { revision: 'step1', trust_remote_code: true },
  sae: { architecture: 'topk', d_in: 8, d_sae: 64, k: 4, device: 'cuda:3' },
  logger: { log_to_wandb: true, wandb_project: 'theirs' },
  sae_lens_version: '6.54.12',
  of_a_later_version: 3,
  is_dataset_tokenized: true,
};
const from = fromLayer('hub:user/repo/folder', RUN);
const flags = (value: object) => ({
  kind: 'flags' as const,
  source: 'the command line',
  value,
  at: (path: readonly string[]) => `--${path.join('.')}`,
});
const file = (value: object) => ({ kind: 'file' as const, source: 'mine.yaml', value });

describe('a run to start from', () => {
  test('gives its settings of training, above the preset and below the file and the flags', () => {
    const layers = [presetLayer('demo'), from, file({ training_tokens: 2_000_000, lr: 1 }), flags({ lr: 1e-5 })];
    const { config, provenance } = resolveConfig(layers);
    expect(config).toMatchObject({ model_name: 'tiny', training_tokens: 2_000_000, lr: 1e-5, lr_warm_up_steps: 25 });
    expect(config.sae).toMatchObject({ architecture: 'topk', d_sae: 64, k: 4 });
    expect(provenance.get('sae.k')).toMatchObject({ layer: 'from', source: 'hub:user/repo/folder' });
    expect(config.is_dataset_tokenized, 'SAELens writes true for every run and looks at the columns').toBe(null);
  });

  test('does not say where this run writes, on what device, under which account or whose code is trusted', () => {
    const { config, notices } = resolveConfig([from]);
    expect(config).toMatchObject({ device: 'cpu', checkpoint_path: null, dataset_trust_remote_code: false });
    expect(config.sae.device).not.toBe('cuda:3');
    expect(config.logger.wandb_project).not.toBe('theirs');
    expect(config.model_from_pretrained_kwargs).toEqual({ revision: 'step1' });
    expect(notices).toEqual([
      'hub:user/repo/folder: left out what is no option here: of_a_later_version',
      'hub:user/repo/folder: left out what belongs to that run or machine: checkpoint_path, ' +
        'dataset_trust_remote_code, device, model_from_pretrained_kwargs, sae.device, verbose',
    ]);
  });

  test('that was trained from a cache says, where the dataset is missed, that the cache was left out', () => {
    const { dataset_path: _, ...rest } = RUN;
    const cached = fromLayer('runs/cached', { ...rest, use_cached_activations: true, cached_activations_path: 'acts' });
    expect(() => resolveConfig([cached])).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('dataset_path  is not set'),
        hint: expect.stringMatching(/runs\/cached: left out .*cached_activations_path/),
      }),
    );
  });

  test('of an architecture that is not built is refused, unless another one is chosen', () => {
    const abstopk = fromLayer('theirs', {
      ...RUN,
      sae: { architecture: 'abstopk', d_in: 8, k: 4 },
    });
    const refusal = ((): SaeLensError | undefined => {
      try {
        resolveConfig([abstopk]);
      } catch (error) {
        return error as SaeLensError;
      }
      return undefined;
    })();
    expect(refusal).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(refusal?.message).toContain('architecture abstopk is not built yet');
    const { config } = resolveConfig([abstopk, flags({ sae: { architecture: 'topk' } })]);
    expect(config.sae).toMatchObject({ architecture: 'topk', k: 4 });
  });

  test('of SAELens 5 keeps its vocabulary', () => {
    const { sae, logger, ...rest } = RUN;
    const v5 = fromLayer('theirs', { ...rest, sae_lens_version: '5.10.7', d_in: 8, d_sae: 64, l1_coefficient: 2 });
    expect(resolveConfig([v5]).config.sae).toMatchObject({ vocabulary: 'v5', l1_coefficient: 2 });
  });
});

describe('what it changes', () => {
  const shown = (differences: readonly Difference[]) => Object.fromEntries(differences.map((one) => [one.option, one]));

  test('is told with the default it replaces, and what a flag makes of it', () => {
    const differences = shown(differencesOf(resolveConfig([from, flags({ lr: 1e-5 })]), from, []));
    expect(differences.lr).toEqual({
      option: 'lr',
      theirs: 4e-4,
      instead: '0.0003',
      overruled: { value: 1e-5, by: '--lr' },
    });
    expect(differences['sae.k']).toMatchObject({ theirs: 4, instead: '100', overruled: null });
    expect(differences.model_name).toMatchObject({ theirs: 'tiny', instead: '' });
    expect(Object.keys(differences)).not.toContain('device');
  });

  test('is told with the value of the preset below it, and not where both agree', () => {
    const preset = presetLayer('demo');
    const same = fromLayer('theirs', { ...RUN, lr: 3e-3 });
    const differences = shown(differencesOf(resolveConfig([preset, same]), same, [preset]));
    expect(differences.lr).toBeUndefined();
    expect(differences.training_tokens).toMatchObject({ theirs: 1_000_000, instead: '256000' });
    expect(differences.model_name).toMatchObject({ instead: '"bundled:smollm2-135m"' });
  });

  test('leaves out widths that are not set, and shows numbers as they were meant', () => {
    const sae = { architecture: 'topk', d_in: null, d_sae: 64, expansion_factor: null, k: 4 };
    const unset = fromLayer('theirs', { ...RUN, sae, lr_end: 1e-5 });
    const differences = shown(differencesOf(resolveConfig([unset]), unset, []));
    expect(Object.keys(differences).filter((option) => /d_in|expansion_factor/.test(option))).toEqual([]);
    expect(differences['sae.d_sae']).toMatchObject({ theirs: 64 });
    expect(differences.lr_end).toMatchObject({ theirs: 1e-5, instead: '0.00003' });
  });
});
