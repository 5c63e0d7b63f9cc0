import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { staleFiles } from '../../src/config/generate/generated-files.ts';
import {
  CacheActivationsRunnerConfig,
  PRESETS,
  PretokenizeRunnerConfig,
  parseConfigObject,
  type ResolvedConfig,
  resolveConfig,
} from '../../src/config/index.ts';
import { presetLayer } from '../../src/config/presets/index.ts';
import { pythonForTests } from '../python-for-tests.ts';

test('every generated file holds what the schemas say', () => {
  expect(staleFiles('.')).toEqual([]);
});

// Reads configurations as JSON lines and answers each with "ok" or the reason for refusing it.
const DECODE = `
import sys, msgspec
import importlib
module = importlib.import_module("pyworker.protocol." + sys.argv[1])
decoder = msgspec.json.Decoder(getattr(module, sys.argv[2]))
for line in sys.stdin.buffer:
    try:
        config = decoder.decode(line)
        again = msgspec.json.decode(msgspec.json.encode(config))
        print("ok" if again == msgspec.json.decode(line) else "changed by decoding")
    except msgspec.ValidationError as error:
        print(error)
`;

function decodeInPython(
  values: readonly unknown[],
  [module, name] = ['config', 'LanguageModelSAERunnerConfig'],
): string[] {
  const input = values.map((value) => `${JSON.stringify(value)}\n`).join('');
  const output = execFileSync(pythonForTests(), ['-c', DECODE, module, name], { input, encoding: 'utf8' });
  return output.trimEnd().split('\n');
}

const base = { dataset_path: 'text', training_tokens: 1_000_000 };
const examples: Record<string, ResolvedConfig> = {
  ...Object.fromEntries(Object.keys(PRESETS).map((name) => [name, resolveConfig([presetLayer(name)]).config])),
  'defaults of 6.x': parseConfigObject({ ...base, sae: { architecture: 'standard' } }),
  'standard with topk activation': parseConfigObject({
    ...base,
    sae: { architecture: 'standard', activation_fn: 'topk', noise_scale: 0.5, mse_loss_normalization: 'dense_batch' },
    model_kwargs: { deep: { list: [1, 2.5, null, 'x'] } },
  }),
  gated: parseConfigObject({
    ...base,
    sae: { architecture: 'gated', d_in: 8, d_sae: 32 },
    exclude_special_tokens: [0, 5],
  }),
  jumprelu: parseConfigObject({
    ...base,
    sae: { architecture: 'jumprelu', jumprelu_sparsity_loss_mode: 'quadratic', target_l0: 12 },
    sequence_separator_token: 7,
    prefetch_llm_batches: true,
    seqpos_slice: [1, -1],
  }),
  topk: parseConfigObject({
    ...base,
    sae: { architecture: 'topk', k: 4 },
    max_grad_norm: null,
    exclude_special_tokens: true,
  }),
  batchtopk: parseConfigObject({ ...base, sae: { architecture: 'batchtopk', k: 3.5, topk_threshold_lr: 0.1 } }),
  matryoshka_batchtopk: parseConfigObject({
    ...base,
    sae: { architecture: 'matryoshka_batchtopk', matryoshka_widths: [8, 64], use_matryoshka_aux_loss: true },
  }),
  'flat 5.x': parseConfigObject({
    ...base,
    sae_lens_version: '5.10.7',
    architecture: 'jumprelu',
    d_in: 16,
    l1_coefficient: 2,
  }),
};

const flat: [kind: string, twin: [string, string], config: object][] = [
  [
    'pretokenize',
    ['pretokenize_config', 'PretokenizeRunnerConfig'],
    new PretokenizeRunnerConfig({ dataset_path: 'd', save_path: 'out', data_files: ['a', 'b'], begin_batch_token: 7 }),
  ],
  [
    'cache-activations',
    ['cache_activations_config', 'CacheActivationsRunnerConfig'],
    new CacheActivationsRunnerConfig({
      ...{ model_name: 'm', dataset_path: 'd', hook_name: ['a', 'b'], model_batch_size: 4, training_tokens: 512 },
      seqpos_slice: [1, -1],
    }),
  ],
];

test.each(flat)(
  'the Python twin of %s takes what resolves, and refuses a missing or an unknown key',
  (_, twin, config) => {
    const missing = Object.keys(config).map((key) => ({ ...config, [key]: undefined }));
    const [whole, ...others] = decodeInPython([config, ...missing, { ...config, extra: 1 }], twin);
    expect(whole).toBe('ok');
    expect(others.filter((answer) => !/missing required field|unknown field/.test(answer))).toEqual([]);
  },
);

describe('the Python twin', () => {
  test('decodes every resolved configuration strictly and without changing it', () => {
    expect(decodeInPython(Object.values(examples))).toEqual(Object.keys(examples).map(() => 'ok'));
  });

  test('refuses a missing key wherever it is missing, and an unknown key wherever it is', () => {
    const config = examples.topk as ResolvedConfig;
    const without = (key: string) => Object.fromEntries(Object.entries(config).filter(([name]) => name !== key));
    const missing = Object.keys(config).map(without);
    const missingInside = (['sae', 'logger'] as const).flatMap((group) =>
      Object.keys(config[group]).map((key) => ({ ...config, [group]: { ...config[group], [key]: undefined } })),
    );
    const unknown = [
      { ...config, extra: 1 },
      { ...config, sae: { ...config.sae, extra: 1 } },
    ];
    const answers = decodeInPython([...missing, ...missingInside, ...unknown]);
    expect(answers.filter((answer) => answer === 'ok' || answer.startsWith('changed'))).toEqual([]);
    expect(answers.at(-1)).toContain('unknown field `extra`');
  });
});
