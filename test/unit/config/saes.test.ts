import { describe, expect, it } from 'vitest';
import {
  configsOf,
  environmentLayer,
  LanguageModelSAERunnerConfig,
  type Layer,
  parseConfigObject,
  resolveConfig,
  TopKTrainingSAEConfig,
} from '../../../src/config/index.ts';
import { problemsOf } from './problems-of.ts';

const RUN = { dataset_path: 'text', logger: { log_to_wandb: false } };
const sae = { architecture: 'topk', d_in: 64, d_sae: 256, k: 8 };
const of = (value: object, name: string) => configsOf(parseConfigObject({ ...RUN, ...value })).get(name);

describe('several SAEs: each is the configuration of a run of its own', () => {
  it('what an SAE says itself is laid over what the run says for all', () => {
    const saes = { wide: { d_sae: 512, lr: 1e-3 }, plain: {}, other: { architecture: 'standard', l1_coefficient: 2 } };
    const run = { ...RUN, sae, lr: 2e-4, lr_warm_up_steps: 7 };
    const configs = configsOf(parseConfigObject({ ...run, saes }));
    expect([...configs.keys()]).toEqual(['wide', 'plain', 'other']);
    const alone = {
      wide: { ...run, sae: { ...sae, d_sae: 512 }, lr: 1e-3 },
      plain: run,
      other: { ...run, sae: { architecture: 'standard', d_in: 64, d_sae: 256, l1_coefficient: 2 } },
    };
    for (const [name, config] of configs) {
      const { logger: _, ...own } = parseConfigObject(alone[name as keyof typeof alone]);
      expect(config, String(name)).toMatchObject(own);
      expect(config).not.toHaveProperty('saes');
    }
    expect(configs.get('wide')?.lr_end).toBe(1e-4);
  });

  it('a run of one SAE is the configuration it was', () => {
    const config = parseConfigObject({ ...RUN, sae });
    expect(config).not.toHaveProperty('saes');
    expect([...configsOf(config)]).toEqual([[null, config]]);
  });

  it('flags and the environment change what the SAEs do not say themselves, and the SAEs by their names', () => {
    const file: Layer = { kind: 'file', source: 'f', value: { ...RUN, sae, lr: 1, saes: { a: { lr: 1e-3 }, b: {} } } };
    const flags: Layer = { kind: 'flags', source: 'flags', value: { lr: 2e-3, saes: { b: { k: 4 }, c: { k: 2 } } } };
    const { config, provenance } = resolveConfig([file, flags]);
    expect([...configsOf(config)].map(([name, one]) => [name, one.lr, 'k' in one.sae && one.sae.k])).toEqual([
      ['a', 1e-3, 8],
      ['b', 2e-3, 4],
      ['c', 2e-3, 2],
    ]);
    expect(provenance.get('saes.b.k')).toMatchObject({ layer: 'flags' });
    expect(provenance.get('saes.b.lr')).toMatchObject({ layer: 'flags' });
    expect(provenance.get('saes.a.lr')).toMatchObject({ layer: 'file' });
    expect(provenance.get('saes.a.adam_beta1')).toEqual({ layer: 'default' });
    const variable = environmentLayer({ SAE_LENS_TS_SAES: '{"a": {"k": 3}}' }) as Layer;
    expect(resolveConfig([file, variable]).config.saes?.a).toMatchObject({ k: 3, lr: 1e-3 });
  });

  it('what is resolved resolves to itself', () => {
    const saes = {
      a: { lr_scheduler_name: 'cosineannealing', lr_end: 1e-6, decoder_heuristic_init: true },
      b: { architecture: 'jumprelu', jumprelu_sparsity_loss_mode: 'tanh' },
      c: { architecture: 'matryoshka_batchtopk', matryoshka_widths: [16, 64], k: 4.5, d_sae: 128 },
    };
    const config = parseConfigObject({ ...RUN, sae, saes });
    expect(parseConfigObject(JSON.parse(JSON.stringify(config)))).toEqual(config);
    expect(new LanguageModelSAERunnerConfig(config as never)).toEqual(config);
  });

  it('instances of the SAE classes are SAEs too, and the width is the only thing said for all', () => {
    const config = new LanguageModelSAERunnerConfig({
      dataset_path: 'text',
      log_to_wandb: false,
      sae: { d_in: 64 },
      saes: { a: new TopKTrainingSAEConfig({ d_sae: 128, k: 4 }), b: { architecture: 'gated', expansion_factor: 3 } },
    });
    expect(configsOf(config).get('a')?.sae).toMatchObject({ architecture: 'topk', d_in: 64, d_sae: 128, k: 4 });
    expect(configsOf(config).get('b')?.sae).toMatchObject({ architecture: 'gated', d_in: 64, d_sae: 192 });
    expect(config.logger.run_name).toBe('multi-topk+gated-N2-LR-0.0003-Tokens-2.000e+6');
  });

  it('an option of the run that only some architectures have serves those', () => {
    const value = { sae: { d_in: 64, k: 8, l1_coefficient: 3 }, saes: { a: { architecture: 'topk' }, b: {} } };
    expect(of(value, 'a')?.sae).toMatchObject({ architecture: 'topk', k: 8 });
    expect(of(value, 'b')?.sae).toMatchObject({ architecture: 'standard', l1_coefficient: 3 });
  });

  it('an option of training that only some schedules use serves those', () => {
    const value = { sae, lr_end: 1e-6, saes: { a: { lr_scheduler_name: 'cosineannealing' }, b: { lr: 1e-2 } } };
    expect([of(value, 'a')?.lr_end, of(value, 'b')?.lr_end]).toEqual([1e-6, 1e-3]);
  });
});

describe('several SAEs: what is wrong is said at once, under the path where it is', () => {
  it.each<[string, object, string[]]>([
    [
      'an option of the run, of the SAEs together, of nobody, of another architecture',
      { saes: { a: { context_size: 64, dtype: 'float64', kk: 3, l1_coefficient: 1 }, b: {} } },
      [
        'saes.a.context_size | is shared by all SAEs of a run | set context_size beside saes, or train this SAE in a run of its own',
        'saes.a.dtype | "float64" cannot be one SAE\'s own: their batches are of one number type | set sae.dtype beside saes, for all of them',
        'saes.a.kk | is not an option | did you mean k?',
        'saes.a.l1_coefficient | has no effect with architecture topk: it belongs to standard, gated | remove l1_coefficient, or choose another architecture',
      ],
    ],
    [
      'values, alone and against each other, of each SAE',
      { saes: { small: { d_sae: 4 }, b: { k: 0, lr: -1 }, c: { lr_warm_up_steps: 1e6 } } },
      [
        'saes.small.k | 8 is more than d_sae = 4 | use a value from 1 to 4',
        'saes.b.k | 0 is too small | use more than 0',
        'saes.b.lr | -1 is too small | use more than 0',
        'saes.c.lr_warm_up_steps | 1000000 and lr_decay_steps = 0 are together more than the 488 whole batches in the 489 steps of the run | use at most 488 together, or raise training_tokens',
      ],
    ],
    [
      'what the run says for all, once',
      { context_size: 0, adam_beta1: 2, saes: { a: {}, b: { d_sae: 16 } } },
      ['context_size | 0 is too small | use more than 0', 'adam_beta1 | 2 is too large | use less than 1'],
    ],
    [
      'what no SAE has a use for',
      { sae: { ...sae, jumprelu_bandwidth: 1 }, n_restart_cycles: 3, saes: { a: {}, b: { k: 3 } } },
      [
        'sae.jumprelu_bandwidth | has no effect with architecture topk: it belongs to jumprelu | remove jumprelu_bandwidth, or choose another architecture',
        'n_restart_cycles | 3 has no effect without lr_scheduler_name cosineannealingwarmrestarts | remove it, or use lr_scheduler_name cosineannealingwarmrestarts',
      ],
    ],
    [
      'a value that every SAE overrules',
      { sae: { ...sae, k: 'many' }, saes: { a: { k: 3 } } },
      ['sae.k | "many" is text; expected a number'],
    ],
    [
      'names that cannot be folders, and two that are one',
      { saes: { '../up': {}, 'cfg.json': {}, a: {}, A: {} } },
      [
        'saes.../up | "../up" cannot be a name: it becomes a folder | use up to 64 letters, digits, ".", "_" and "-", beginning with a letter or a digit, and no name of a file',
        'saes.cfg.json | "cfg.json" cannot be a name: it becomes a folder | use up to 64 letters, digits, ".", "_" and "-", beginning with a letter or a digit, and no name of a file',
        'saes.A | "A" and "a" are one folder where letters have no case | give one another name',
      ],
    ],
    ['a list', { saes: [{ k: 3 }] }, ['saes | expected names, each with the options of an SAE']],
    ['a value', { saes: { a: 3 } }, ['saes.a | expected a group of options']],
  ])('%s', (_, value, problems) => {
    expect(problemsOf({ ...RUN, sae, ...value })).toEqual(problems);
  });
});
