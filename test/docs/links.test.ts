import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readNotebook } from '../notebook.ts';
import { anchorsOf, PAGES, targetOf } from './pages.ts';

const byPath = new Map(PAGES.map((page) => [page.path, page]));
const isElsewhere = (link: string): boolean => /^[a-z]+:/.test(link);

test.each(PAGES)('every link of $path leads to a file and a heading that are there', (page) => {
  const dead = page.links
    .filter((link) => !isElsewhere(link))
    .filter((link) => {
      const { file, anchor } = targetOf(page, link);
      const there = byPath.get(file);
      return !existsSync(file) || (anchor !== '' && !(there && anchorsOf(there).includes(anchor)));
    });
  expect(dead).toEqual([]);
});

test('every address elsewhere is one, and by https', () => {
  const addresses = PAGES.flatMap(({ links }) => links).filter(isElsewhere);
  expect(addresses.filter((address) => new URL(address).protocol !== 'https:')).toEqual([]);
  expect(addresses.length).toBeGreaterThan(2);
});

test('every link of the notebook leads to a file that is there', () => {
  const text = JSON.stringify(readNotebook('docs/notebooks/train-and-share.ipynb').cells.map(({ source }) => source));
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link as string);
  expect(links.length).toBeGreaterThan(0);
  expect(links.filter((link) => !isElsewhere(link) && !existsSync(`docs/notebooks/${link}`))).toEqual([]);
});
