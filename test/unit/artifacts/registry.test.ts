import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Registry } from '../../../src/artifacts/registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'sae-lens-ts-registry-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const OWN = `
mine:
  repo_id: me/saes
  model: tiny
  saes:
    - {id: first, path: a/first, l0: 12, neuronpedia: x}
    - {id: 'layer_{layer}/k{k}', path: 'L{layer}/{k}', every: {layer: 0-1, k: [8, 16]}}
    - {id: 'canonical_{layer}', path: 'layer_{layer}/l0_{l0}', each: {layer: 0-1, l0: [70, 90]}, norm_scaling_factor: [0.5, 2]}
`;

describe('a release of the package', () => {
  test('names the repository, folder and what the files do not say', async () => {
    const registry = await Registry.read();
    expect(registry.sae('gpt2-small-res-jb', 'blocks.8.hook_resid_pre')).toEqual({
      repo: 'jbloom/GPT2-Small-SAEs-Reformatted',
      path: 'blocks.8.hook_resid_pre',
      normScalingFactor: null,
      overrides: {
        metadata: { model_name: 'gpt2-small', model_from_pretrained_kwargs: { center_writing_weights: true } },
      },
    });
    expect(registry.sae('gemma-scope-2b-pt-att-canonical', 'layer_3/width_16k/canonical').overrides).toEqual({
      reshape_activations: 'hook_z',
      metadata: { model_name: 'gemma-2-2b', hook_name: 'blocks.3.attn.hook_z' },
    });
    expect(registry.sae('mistral-7b-res-wg', 'blocks.8.hook_resid_pre').overrides).toMatchObject({
      normalize_activations: 'constant_norm_rescale',
    });
    expect(registry.sae('gpt2-small-mlp-tm', 'blocks.11.hook_mlp_out').normScalingFactor).toBeCloseTo(0.285, 3);
  });

  test('that is misspelled is answered with the nearest, and so is an id', async () => {
    const registry = await Registry.read();
    expect(() => registry.release('gpt2-smal-res-jb')).toThrow(
      expect.objectContaining({
        code: 'RELEASE_NOT_FOUND',
        hint: expect.stringContaining('did you mean gpt2-small-res-jb'),
      }),
    );
    expect(() => registry.sae('gpt2-small-res-jb', 'blocks.8.hook_resid_post')).toThrow(
      expect.objectContaining({ code: 'RELEASE_NOT_FOUND', hint: expect.stringContaining('blocks.8.hook_resid_pre') }),
    );
  });

  test('is not found under a name that every object has', async () => {
    const registry = await Registry.read();
    expect(registry.has('constructor')).toBe(false);
    expect(() => registry.release('__proto__')).toThrow(expect.objectContaining({ code: 'RELEASE_NOT_FOUND' }));
  });
});

describe('a registry of one’s own', () => {
  test('adds releases, and its patterns stand for all combinations or for one place each', async () => {
    const registry = await Registry.read(file('own.yaml', OWN));
    expect(registry.names).toContain('gpt2-small-res-jb');
    const { saes, format } = registry.release('mine');
    expect(format).toBe('sae_lens');
    expect([...saes].map(([id, { path }]) => [id, path])).toEqual([
      ['first', 'a/first'],
      ['layer_0/k8', 'L0/8'],
      ['layer_0/k16', 'L0/16'],
      ['layer_1/k8', 'L1/8'],
      ['layer_1/k16', 'L1/16'],
      ['canonical_0', 'layer_0/l0_70'],
      ['canonical_1', 'layer_1/l0_90'],
    ]);
    expect(registry.sae('mine', 'canonical_1').normScalingFactor).toBe(2);
  });

  test('overrules a release of the package, and may be JSON', async () => {
    const own = { 'gpt2-small-res-jb': { repo_id: 'me/fork', model: 'gpt2', saes: [{ id: 'a', path: 'b' }] } };
    const registry = await Registry.read(file('own.json', JSON.stringify(own)));
    expect(registry.sae('gpt2-small-res-jb', 'a')).toMatchObject({ repo: 'me/fork', path: 'b' });
  });

  test('may list a format that has no reader; loading it says so', async () => {
    const text = 'odd: {repo_id: a/b, model: m, conversion_func: goodfire, saes: [{id: x, path: y}]}';
    const registry = await Registry.read(file('odd.yaml', text));
    expect(registry.release('odd').format).toBeNull();
    expect(() => registry.sae('odd', 'x')).toThrow(expect.objectContaining({ code: 'SAE_INVALID' }));
  });

  test.each([
    ['no such file', null, 'ENOENT'],
    ['no YAML', 'a: [', 'Flow sequence'],
    ['a list', '- a', 'expected record'],
    ['a release without a repository', 'a: {model: m, saes: []}', 'a.repo_id'],
    ['lists of different lengths', 'a: {repo_id: a/b, model: m, saes: [{id: x, each: {i: 0-1, j: [1]}}]}', 'different'],
    ['both kinds of lists', 'a: {repo_id: a/b, model: m, saes: [{id: x, each: {i: [1]}, every: {j: [1]}}]}', 'exclude'],
    ['a pattern for millions', 'a: {repo_id: a/b, model: m, saes: [{id: x, every: {i: 0-999, j: 0-999}}]}', '1000000'],
    [
      'entries for too many together',
      `a: {repo_id: a/b, model: m, saes: [${Array.from({ length: 20 }, (_, i) => `{id: 'x${i}_{i}', every: {i: 0-9999}}`)}]}`,
      'has 110000 SAEs',
    ],
    ['two SAEs of one id', 'a: {repo_id: a/b, model: m, saes: [{id: x, path: y}, {id: x, path: z}]}', 'x: two SAEs'],
    [
      'one id for a whole list',
      'a: {repo_id: a/b, model: m, saes: [{id: x, path: "{i}", every: {i: 0-1}}]}',
      'x: two SAEs have this id',
    ],
    [
      'braces that nothing fills',
      'a: {repo_id: a/b, model: m, saes: [{id: "x{i}", path: "{q}", every: {i: 0-1}}]}',
      '{q} is in none of the lists',
    ],
    ['a tag', 'a: {repo_id: !secret a/b, model: m, saes: []}', 'Unresolved tag: !secret'],
    ['larger than any', `a: "${'x'.repeat(16_000_000)}"`, 'more than 16000000 bytes'],
    [
      'aliases that grow',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefg'.replace(/./g, (k, i) => `${k}: &${k} [${Array(9).fill(`*${'abcdefg'[i]}`)}]\n`)}`,
      'alias',
    ],
  ])('that is %s is refused, and it is said where', async (_, text, words) => {
    const path = text === null ? join(folder, 'nowhere.yaml') : file('broken.yaml', text);
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => warned.mockRestore());
    await expect(Registry.read(path)).rejects.toMatchObject({
      code: 'REGISTRY_INVALID',
      message: expect.stringContaining(words),
    });
    expect(warned).not.toHaveBeenCalled();
  });

  test('is not read for ever where it is a device that never ends', async () => {
    await expect(Registry.read('/dev/zero')).rejects.toMatchObject({
      code: 'REGISTRY_INVALID',
      message: expect.stringContaining('more than 16000000 bytes'),
    });
  });
});

const judge = process.env.SAE_LENS_TS_JUDGE_PYTHON;
test.skipIf(judge === undefined)('every entry names the repository and the folder that SAELens names', async () => {
  const script = join(import.meta.dirname, '../../fixtures/saelens_releases.py');
  const text = execFileSync(judge as string, [script], { encoding: 'utf8', maxBuffer: 64e6 });
  const theirs = file('theirs.json', text);
  const ours = await Registry.read();
  const expected = await Registry.read(theirs);
  expect(ours.names.length).toBeGreaterThan(100);
  for (const name of ours.names) {
    const [a, b] = [ours.release(name), expected.release(name)];
    expect([name, a.repo, a.model, a.format]).toEqual([name, b.repo, b.model, b.format]);
    const paths = (saes: typeof a.saes) => [...saes].map(([id, { path }]) => `${id} ${path}`).sort();
    expect(paths(a.saes)).toEqual(paths(b.saes));
    if (a.format === 'sae_lens') {
      const factors = (saes: typeof a.saes) => [...saes].map(([id, sae]) => `${id} ${sae.normScalingFactor}`).sort();
      expect(factors(a.saes)).toEqual(factors(b.saes));
    }
  }
});
