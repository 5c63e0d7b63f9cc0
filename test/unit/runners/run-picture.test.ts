import { expect, test } from 'vitest';
import { followRows, showRows } from '../../../src/runners/run-picture.ts';

const ROWS = Array.from({ length: 40 }, (_, step) => ({
  step,
  'losses/overall_loss': 100 / (step + 1),
  'metrics/l0': 4,
  'metrics/explained_variance': step === 3 ? Number.NaN : step / 50,
}));

test('the picture of a run has a curve of each metric there are rows of, stands alone, and prints as one line', async () => {
  const picture = await showRows(ROWS);
  expect(picture.svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  expect([...picture.svg.matchAll(/aria-label="([^:]*): from/g)].map(([, title]) => title)).toEqual([
    'Loss',
    'L0',
    'Explained variance',
  ]);
  expect(picture.svg).toContain('aria-label="Loss: from 2.5 to 100, at the end 2.5"');
  expect(picture.svg).not.toMatch(/NaN|undefined/);
  expect(String(picture)).toBe(picture.svg);
  const { inspect } = await import('node:util');
  expect(inspect(picture)).toBe('curves up to step 39');
});

test('several SAEs share a curve, told apart by name and stroke; names are words', async () => {
  const rows = ROWS.flatMap((row) => ['wide', '<b>'].map((sae) => ({ ...row, sae, 'sparsity/dead_features': 7 })));
  const { svg } = await showRows(rows);
  expect(svg.match(/<polyline/g)).toHaveLength(8);
  expect(svg).toContain('stroke-dasharray="8 4"');
  expect(svg).toContain('wide 7 · &#60;b&#62; 7');
});

test('before the first row there is a picture that says so', async () => {
  expect((await showRows([])).svg).toContain('no numbers yet');
});

test('a run that is followed is drawn to its last row, and throws what it failed with', async () => {
  async function* rows(error?: Error) {
    yield* ROWS;
    if (error !== undefined) throw error;
  }
  expect((await followRows(rows())).step).toBe(39);
  await expect(followRows(rows(new Error('lost')))).rejects.toThrow('lost');
});
