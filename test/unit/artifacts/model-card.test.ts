import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type CardSae, modelCard } from '../../../src/artifacts/model-card.ts';

const PLACE = { repo: 'user/saes', revision: 'main' };
const sae = (id: string, more: Partial<CardSae> = {}): CardSae => ({
  id,
  cfg: { architecture: 'topk', d_in: 32, d_sae: 64, k: 4, metadata: { model_name: 'tiny', hook_name: id, l0: 4 } },
  runner: null,
  metrics: {},
  ...more,
});
const frontMatter = (card: string): Record<string, unknown> => parse(card.split('---\n')[1] as string);

describe('the model card of a new repository', () => {
  const card = modelCard(
    null,
    [
      sae('blocks.1', {
        runner: { training_tokens: 1000, lr: 3e-4, sae: { aux_loss_coefficient: 1 } },
        metrics: { 'metrics/explained_variance': 0.98765432, 'metrics/l0': 4 },
      }),
      sae('blocks.0'),
    ],
    PLACE,
  );

  it('tells the hub what it is, by library and tag', () => {
    expect(frontMatter(card)).toEqual({ library_name: 'saelens', tags: ['saelens'] });
    expect(card).toContain('\n# saes\n');
  });

  it('says how to load an SAE in both languages', () => {
    expect(card).toContain('sae = SAE.from_pretrained("user/saes", "blocks.0")');
    expect(card).toContain("await SAE.fromPretrained('user/saes', 'blocks.0')");
    expect(modelCard(null, [sae('a')], { ...PLACE, revision: 'v2' })).toContain("'a', { revision: 'v2' })");
  });

  it('has what the SAE is, how it was trained and how good it became', () => {
    for (const row of [
      '| k | `4` |',
      '| model_name | `tiny` |',
      '| lr | `0.0003` |',
      '| aux_loss_coefficient | `1` |',
    ]) {
      expect(card).toContain(row);
    }
    expect(card).toContain('| explained variance | `0.9877` |');
    expect(card).toContain('| l0 | `4` |');
  });

  it('lets no word of a configuration become markup', () => {
    const metadata = { model_name: 'a|b`<script>alert(1)</script>\n# heading' };
    const text = modelCard(null, [sae('a', { cfg: { metadata } })], PLACE);
    expect(text).toContain('| model_name | `a b  script alert(1) /script  # heading` |');
  });
});

describe('a card that is there', () => {
  const theirs = [
    '---',
    'license: mit # asked the lab',
    'library_name: other',
    'tags:',
    '  - interpretability',
    '---',
    '# Ours since 2024',
    '',
    'Load `old/sae` with care.',
    '',
  ].join('\n');

  it('keeps every word; it gets a section, and front matter what it lacks', () => {
    const card = modelCard(theirs, [sae('blocks.0')], PLACE);
    expect(card).toContain('# Ours since 2024\n\nLoad `old/sae` with care.\n');
    expect(card).toContain('license: mit # asked the lab');
    expect(frontMatter(card)).toEqual({
      license: 'mit',
      library_name: 'other',
      tags: ['interpretability', 'saelens'],
    });
    expect(card).toContain('### `blocks.0`');
  });

  it('is the same after the same upload', () => {
    const card = modelCard(theirs, [sae('blocks.0')], PLACE);
    expect(modelCard(card, [sae('blocks.0')], PLACE)).toBe(card);
  });

  it('gets another SAE beside those of earlier uploads, and words below the section stay', () => {
    const card = `${modelCard(theirs, [sae('blocks.0')], PLACE)}\nThanks.\n`;
    const more = modelCard(card, [sae('blocks.10'), sae('blocks.2')], PLACE);
    expect([...more.matchAll(/^### `(.*)`$/gm)].map(([, id]) => id)).toEqual(['blocks.0', 'blocks.2', 'blocks.10']);
    expect(more.match(/## Sparse autoencoders/g)).toHaveLength(1);
    expect(more.endsWith('\nThanks.\n')).toBe(true);
    const changed = modelCard(more, [sae('blocks.2', { cfg: { k: 99 } })], PLACE);
    expect(changed).toContain('| k | `99` |');
    expect(changed.match(/### `blocks.2`/g)).toHaveLength(1);
  });

  it('with front matter that cannot be read keeps it as it is', () => {
    const broken = '---\ntags: [a\n---\n# Ours\n';
    expect(modelCard(broken, [sae('a')], PLACE).startsWith(broken.trimEnd())).toBe(true);
  });
});
