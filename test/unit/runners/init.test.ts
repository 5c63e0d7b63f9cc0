import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { fileLayer, PRESETS, resolveConfig } from '../../../src/config/index.ts';
import { answersOf } from '../../../src/config/presets/answers.ts';
import { presetNamed } from '../../../src/config/presets/index.ts';
import { planTraining } from '../../../src/plan/index.ts';
import { initConfig } from '../../../src/runners/init.ts';

const folder = mkdtempSync(join(tmpdir(), 'init-'));
const inProject = mkdtempSync(resolve('node_modules/.cache/init-'));
afterAll(() => {
  for (const path of [folder, inProject]) rmSync(path, { recursive: true });
});

const resolved = (path: string) => resolveConfig([fileLayer(path)]);

test.each(Object.keys(PRESETS))(
  'the preset %s, written down, is the configuration of the preset, and has a plan',
  async (name) => {
    const path = join(folder, `${name}.yaml`);
    const { next } = await initConfig(path, { preset: name, force: false });
    const { config, notices } = resolved(path);
    const preset = resolveConfig([{ kind: 'preset', source: name, value: presetNamed(name).config }]);
    expect(config).toEqual(preset.config);
    expect(notices).toEqual([]);
    const plan = planTraining(config, {});
    expect(plan.totalSteps).toBeGreaterThan(100);
    expect(plan.memory?.totalBytes).toBeGreaterThan(1e6);
    expect(next.at(-1)?.command).toBe(`sae-lens-ts train ${path}`);
  },
);

test.each(Object.keys(PRESETS))('every line of the preset %s says its unit or why', async (name) => {
  const path = join(folder, `lines-${name}.yaml`);
  await initConfig(path, { preset: name, force: false });
  const bare = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !/(^#| # .{8}|^(sae|logger):$)/.test(line));
  expect(bare).toEqual([]);
  const options = Object.keys(presetNamed(name).config);
  const explained = Object.keys(presetNamed(name).why).filter((key) => !options.includes(key.split('.')[0] as string));
  expect(explained, 'reasons for what the preset does not set').toEqual([]);
});

test('an editor finds the schema: beside the project by a relative path, elsewhere by a whole one', async () => {
  for (const place of [join(inProject, 'a', 'config.yaml'), join(folder, 'config.yaml')]) {
    mkdirSync(dirname(place), { recursive: true });
    await initConfig(place, { preset: 'demo', force: false });
    const [, schema = ''] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(readFileSync(place, 'utf8')) ?? [];
    expect(schema.startsWith('../')).toBe(place.startsWith(inProject));
    const found = resolve(dirname(place), schema);
    expect(existsSync(found)).toBe(true);
    expect(JSON.parse(readFileSync(found, 'utf8')).properties).toHaveProperty('hook_name');
  }
});

test('answers take the place of the preset’s, and what depends on them is found anew', async () => {
  const path = join(folder, 'answered.yaml');
  const preset = presetNamed('gpt2-jumprelu');
  const answers = { ...answersOf(preset), architecture: 'jumprelu' as const, d_sae: 4096, training_tokens: 20_000_000 };
  await initConfig(path, { preset, answers, force: false });
  const { config } = resolved(path);
  expect(config).toMatchObject({ lr_decay_steps: 976, sae: { d_in: 768, d_sae: 4096, l0_warm_up_steps: 4882 } });
  expect(readFileSync(path, 'utf8')).not.toContain('32 × d_in');
});

test('another model begins without what was said of the preset’s: its width, its loading, its tokens', async () => {
  const path = join(folder, 'other.yaml');
  const preset = presetNamed('gemma-2-2b');
  const other = { model_name: 'pythia-70m', hook_name: 'blocks.3.hook_resid_post', dataset_path: 'my/text' };
  await initConfig(path, { preset, answers: { ...answersOf(preset), ...other, architecture: 'gated' }, force: false });
  const { config } = resolved(path);
  expect(config).toMatchObject({ ...other, sae: { architecture: 'gated', d_in: null } });
  expect(config.model_from_pretrained_kwargs).not.toHaveProperty('dtype');
  expect(readFileSync(path, 'utf8')).not.toMatch(/gated: accept|0\.73|5\.2 GB/);
});

test('a file that is there is never written over, unless that is wanted', async () => {
  const path = join(folder, 'mine.yaml');
  await initConfig(path, { preset: 'demo', force: false });
  const before = readFileSync(path, 'utf8');
  await expect(initConfig(path, { preset: 'gpt2-topk', force: false })).rejects.toMatchObject({
    code: 'USAGE',
    hint: expect.stringContaining('--force'),
  });
  expect(readFileSync(path, 'utf8')).toBe(before);
  await initConfig(path, { preset: 'gpt2-topk', force: true });
  expect(readFileSync(path, 'utf8')).not.toBe(before);
});

test('answers that do not go together are refused before anything is written', async () => {
  const path = join(folder, 'wrong.yaml');
  const preset = presetNamed('gpt2-topk');
  const answers = { ...answersOf(preset), d_sae: 8 };
  await expect(initConfig(path, { preset, answers, force: false })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  expect(existsSync(path)).toBe(false);
});
