import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { chosenBy, featuresPlaces } from '../../../src/runners/features-places.ts';

const run = mkdtempSync(join(tmpdir(), 'run-'));
writeFileSync(join(run, 'run.json'), '{}');
afterAll(() => rmSync(run, { recursive: true }));

const subjects = (...names: string[]) => names.map((name) => ({ name }));
const folders = (path: string, names: string[], given = {}): string[] =>
  featuresPlaces(path, subjects(...names), given).map(({ folder }) => folder);

it('the features of one SAE lie in its run, or beside it by its name', () => {
  expect(folders(run, ['a-run'])).toEqual([join(run, 'features')]);
  expect(folders('x', ['release/blocks.8'])).toEqual(['features-release_blocks.8']);
  expect(folders('x', ['a'], { output: 'there' })).toEqual(['there']);
});

it('of several each has a folder of its own, whatever characters and case their names have', () => {
  const names = ['r/a b', 'r/a:b', 'r/A/b', 'r_a_b-2', 'r/ü'];
  expect(folders(run, names)).toEqual(
    ['r_a_b', 'r_a_b-2', 'R_A_b-3', 'r_a_b-2-2', 'r_'].map((word) => join(run, 'features', word.replace('R_A', 'r_A'))),
  );
});

it.each(['..', '.', '...', '.git', '', '/', '../..', '..\\..'])('the name "%s" leads nowhere else', (name) => {
  for (const folder of folders('x', [name, 'other'], { output: 'there' })) {
    expect(folder).toMatch(/^there\/[\w+-][\w.+-]*$/);
  }
  expect(folders('x', [name])[0]).toMatch(/^features-[\w+-][\w.+-]*$/);
});

it('one of several is chosen by its name and keeps the place it has among all', () => {
  const [one, two] = ['both/wide', 'both/plain'];
  const all = folders(run, [one, two]);
  expect(folders(run, [one, two], { sae: 'plain' })).toEqual([all[1]]);
  expect(folders(run, [one, two], { sae: 'both/wide' })).toEqual([all[0]]);
  expect(() => folders(run, [one, two], { sae: 'narrow' })).toThrow(`"${run}" has no SAE "narrow"`);
  expect(chosenBy(subjects(one, two))).toBe('--sae wide, --sae plain');
});
