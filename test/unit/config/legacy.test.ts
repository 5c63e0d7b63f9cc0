import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseConfigObject, type ResolvedConfig } from '../../../src/config/index.ts';
import { problemsOf } from './problems-of.ts';

const shared = process.env.SAE_LENS_TS_SHARED ?? '../shared';
const path = join(shared, 'golden/v5/config_v5.json');
type Options = Record<string, unknown>;
interface Recorded {
  defaults: Options;
  derived: Record<string, Options & { in: Options }>;
  errors: Record<string, { in: Options; error: string | null }>;
}
// The cases somebody ran through 5.10.7 (golden/README.md).
const recorded: Recorded = existsSync(path)
  ? JSON.parse(readFileSync(path, 'utf8'))
  : { defaults: {}, derived: {}, errors: {} };

/** A recorded 5.x case as somebody would write it: flat, with the dataset that we insist on. */
const flat = (options: Options): Options => ({
  architecture: 'standard',
  dataset_path: 'text',
  sae_lens_version: '5.10.7',
  ...options,
});

/** The value of a flat key in the resolved configuration. */
function flatValue(config: ResolvedConfig, key: string): unknown {
  const groups = [config, config.sae, config.logger] as unknown as Options[];
  return groups.find((group) => key in group)?.[key];
}

// What differs on purpose, each with its reason.
const DIFFERENT: Record<string, string> = {
  dataset_path: 'ours is set',
  dataset_trust_remote_code: 'off by default (promise P4)',
  is_dataset_tokenized: '5.x never read it; null sees it from the columns',
  wandb_id: 'recorded as ID',
  checkpoint_path: 'the run folder is the default',
  verbose: 'recorded with false',
};

describe.skipIf(!existsSync(path))('flat SAELens 5.x configurations (needs ../shared)', () => {
  test('have the defaults of 5.x', () => {
    const config = parseConfigObject(flat({}));
    const compared = Object.entries(recorded.defaults).filter(([key]) => flatValue(config, key) !== undefined);
    const differing = compared.filter(([key, value]) => {
      if (key in DIFFERENT) return false;
      if (key === 'eval_batch_size_prompts') return flatValue(config, key) !== config.store_batch_size_prompts;
      return JSON.stringify(flatValue(config, key)) !== JSON.stringify(value);
    });
    expect(differing.map(([key, value]) => [key, value, flatValue(config, key)])).toEqual([]);
    expect(compared.length).toBeGreaterThan(60);
    expect(config.sae.vocabulary).toBe('v5');
  });

  const cached = ['cache_path', 'act_head'];
  const refused: Record<string, RegExp> = {
    mse_norm_unknown: /not one of dense_batch/,
    steps: /finetuning_tokens.*needs finetuning_method/,
  };
  const cases = Object.entries(recorded.derived).filter(
    ([name]) => !cached.includes(name) && !name.startsWith('checkpoint_thresholds') && !(name in refused),
  );
  test.each(cases)('derive what 5.x derives: %s', (name, { in: given, ...derived }) => {
    const config = parseConfigObject(flat(given));
    // A constant rate has no end: what 5.x records there is left out.
    const compared = ['d_sae', 'lr_end', 'model_from_pretrained_kwargs', 'act_store_device'] as const;
    for (const key of compared.filter((one) => name !== 'lr_end_set' || one !== 'lr_end')) {
      expect([key, flatValue(config, key)]).toEqual([key, derived[key]]);
    }
    expect(config.logger.run_name).toBe(derived.run_name);
    if (given.architecture === 'topk') {
      expect({ k: flatValue(config, 'k') }).toEqual(derived.activation_fn_kwargs);
    } else {
      expect(flatValue(config, 'activation_fn_kwargs')).toEqual(derived.activation_fn_kwargs);
    }
  });

  test.each(Object.entries(refused))('%s, which 5.x accepted silently, is refused', (name, message) => {
    expect(problemsOf(flat(recorded.derived[name]?.in ?? {})).join('\n')).toMatch(message);
  });

  // 5.x refused what has become an option of ours, or refused by mistake.
  const accepted = ['TrainingSAE:gelu', 'seqpos3'];
  test.each(Object.entries(recorded.errors))('what 5.x refuses is refused: %s', (name, { in: given }) => {
    const problems = problemsOf(name === 'n_devices' ? { dataset_path: 'text', sae: 1 } : flat(given));
    if (accepted.includes(name)) expect(problems).toEqual([]);
    else expect(problems.length).toBeGreaterThan(0);
  });

  test('a whole 5.x file resolves, and its resolved form resolves to itself', () => {
    for (const name of ['gated', 'jumprelu', 'standard_seed_doc_sample']) {
      const file = join(shared, `golden/v5/checkpoints/${name}/cfg.json`);
      const config = parseConfigObject(JSON.parse(readFileSync(file, 'utf8')));
      expect(config.sae.vocabulary).toBe('v5');
      expect(parseConfigObject(JSON.parse(JSON.stringify(config)))).toEqual(config);
    }
  });
});

test('in 5.x the L1 options of a JumpReLU SAE mean its L0 penalty', () => {
  const { sae } = parseConfigObject(flat({ architecture: 'jumprelu', l1_coefficient: 3, l1_warm_up_steps: 7 }));
  expect(sae).toMatchObject({ l0_coefficient: 3, l0_warm_up_steps: 7, jumprelu_bandwidth: 0.001 });
});

test('names from before 5.x are understood', () => {
  const config = parseConfigObject({
    dataset_path: 'text',
    sae: { architecture: 'standard', activation_fn_str: 'relu', dtype: 'torch.float32' },
    hook_point: 'blocks.2.hook_resid_pre',
    hook_point_layer: 2,
    total_training_tokens: 8192,
    lr_scheduler_name: 'consineannealing',
  });
  expect(config).toMatchObject({
    hook_name: 'blocks.2.hook_resid_pre',
    training_tokens: 8192,
    lr_scheduler_name: 'cosineannealing',
  });
});

test('what the cfg.json of SAELens 5 says of its weights is no option, and by hand it is refused', () => {
  const saved = { dataset_path: 'text', d_in: 8, d_sae: 32, finetuning_scaling_factor: true };
  const config = parseConfigObject({ ...saved, architecture: 'standard', sae_lens_training_version: '5.4.0' });
  expect(config.sae).toMatchObject({ vocabulary: 'v5', d_sae: 32 });
  expect(problemsOf(saved)).toEqual([expect.stringMatching(/^finetuning_scaling_factor \| is not an option/)]);
});

test('the cfg.json of an SAE saved by SAELens 6 is a configuration', () => {
  const config = parseConfigObject({
    d_in: 8,
    d_sae: 32,
    architecture: 'topk',
    k: 4,
    metadata: {
      sae_lens_version: '6.54.12',
      model_name: 'm',
      hook_name: 'blocks.1.hook_z',
      dataset_path: 'text',
      context_size: 64,
    },
  });
  expect(config).toMatchObject({
    model_name: 'm',
    context_size: 64,
    sae: { vocabulary: 'v6', architecture: 'topk', k: 4 },
  });
});

test('flat options in a file mean what they mean as flags, not what 5.x made of them', () => {
  const { sae, adam_beta1 } = parseConfigObject({
    dataset_path: 'text',
    architecture: 'topk',
    k: 32,
    expansion_factor: 2,
  });
  expect(sae).toMatchObject({ vocabulary: 'v6', d_in: null, expansion_factor: 2, b_dec_init_method: 'zeros' });
  expect(adam_beta1).toBe(0.9);
});
