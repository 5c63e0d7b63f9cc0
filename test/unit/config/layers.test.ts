import { expect, test } from 'vitest';
import { environmentLayer, type Layer, resolveConfig } from '../../../src/config/index.ts';

const preset: Layer = {
  kind: 'preset',
  source: 'p',
  value: {
    dataset_path: 'text',
    seed: 1,
    lr: 1e-3,
    context_size: 64,
    sae: { architecture: 'standard', d_in: 8, lp_norm: 2 },
  },
};
const flags = (value: object): Layer => ({
  kind: 'flags',
  source: 'the command line',
  value,
  at: ([key]) => `--${key}`,
});

test('flags overrule the environment, that the file, that the preset, that the defaults', () => {
  const file: Layer = { kind: 'file', source: 'f.yaml', value: { seed: 2, lr: 2e-3, n_checkpoints: 2 } };
  const environment = environmentLayer({ SAE_LENS_TS_SEED: '3', SAE_LENS_TS_LR: '3e-3', PATH: '/bin' }) as Layer;
  const { config, provenance } = resolveConfig([flags({ seed: 4 }), environment, file, preset]);
  expect(config).toMatchObject({ seed: 4, lr: 3e-3, n_checkpoints: 2, context_size: 64, prepend_bos: true });
  expect(
    Object.fromEntries(
      ['seed', 'lr', 'n_checkpoints', 'context_size', 'prepend_bos'].map((key) => [key, provenance.get(key)]),
    ),
  ).toEqual({
    seed: { layer: 'flags', source: 'the command line', where: '--seed' },
    lr: { layer: 'environment', source: 'the environment', where: 'SAE_LENS_TS_LR' },
    n_checkpoints: { layer: 'file', source: 'f.yaml' },
    context_size: { layer: 'preset', source: 'p' },
    prepend_bos: { layer: 'default' },
  });
});

test('another architecture replaces what only the former one has', () => {
  const { sae } = resolveConfig([preset, flags({ architecture: 'topk', k: 3 })]).config;
  expect(sae).toMatchObject({ architecture: 'topk', d_in: 8, d_sae: 32, k: 3 });
  expect(sae).not.toHaveProperty('lp_norm');
});

test('the environment reaches nested options and every type', () => {
  const layer = environmentLayer({
    SAE_LENS_TS_SAE__ARCHITECTURE: 'topk',
    SAE_LENS_TS_SAE__K: '3',
    SAE_LENS_TS_STREAMING: 'False',
    SAE_LENS_TS_SEQPOS_SLICE: '5 -5',
    SAE_LENS_TS_MODEL_KWARGS: '{"a": 1}',
    SAE_LENS_TS_MAX_GRAD_NORM: 'none',
    SAE_LENS_TS_SEQUENCE_SEPARATOR_TOKEN: '7',
    SAE_LENS_TS_HOME: '/somewhere',
  }) as Layer;
  const { config } = resolveConfig([preset, layer]);
  expect(config.sae).toMatchObject({ architecture: 'topk', k: 3 });
  expect(config).toMatchObject({
    streaming: false,
    seqpos_slice: [5, -5],
    model_kwargs: { a: 1 },
    max_grad_norm: null,
    sequence_separator_token: 7,
  });
});

test('a variable that misspells an option is refused; other variables of ours are not options', () => {
  expect(() => environmentLayer({ SAE_LENS_TS_CONTEXT_SIZ: '1' })).toThrow('did you mean SAE_LENS_TS_CONTEXT_SIZE?');
  const others = ['PYTHON', 'HOME', 'SHARED', 'BASE_PYTHON', 'TORCH_INDEX', 'TEST_MARKER'];
  expect(environmentLayer(Object.fromEntries(others.map((name) => [`SAE_LENS_TS_${name}`, 'x'])))).toBeUndefined();
});

test('two variables of one option are refused when they differ', () => {
  expect(environmentLayer({ SAE_LENS_TS_K: '3', SAE_LENS_TS_SAE__K: '3' })?.value).toEqual({ sae: { k: 3 } });
  expect(() => environmentLayer({ SAE_LENS_TS_K: '3', SAE_LENS_TS_SAE__K: '4' })).toThrow(
    /SAE_LENS_TS_SAE__K +sae\.k +SAE_LENS_TS_K = "3" is the same option/,
  );
});
