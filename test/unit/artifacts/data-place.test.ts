import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { dataPlace } from '../../../src/artifacts/data-place.ts';

let folder = '';
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'place-')));
  onTestFinished(() => rmSync(folder, { recursive: true }));
});
const place = (name: string) => dataPlace(join(folder, name), 'save_path');

it('a link stands for what it leads to, also when nothing is there yet', () => {
  mkdirSync(join(folder, 'disk'));
  symlinkSync('disk', join(folder, 'to-folder'));
  symlinkSync(join(folder, 'disk/new'), join(folder, 'to-nothing'));
  symlinkSync('to-nothing', join(folder, 'to-a-link'));
  expect(place('plain/below')).toBe(join(folder, 'plain/below'));
  expect(place('to-folder')).toBe(join(folder, 'disk'));
  expect(place('to-folder/../x')).toBe(join(folder, 'x'));
  expect(place('to-folder/tokens')).toBe(join(folder, 'disk/tokens'));
  expect(place('to-a-link')).toBe(join(folder, 'disk/new'));
});

it('links that lead in a circle are refused', () => {
  symlinkSync('b', join(folder, 'a'));
  symlinkSync('a', join(folder, 'b'));
  expect(() => place('a')).toThrow(
    expect.objectContaining({ code: 'STORAGE', message: expect.stringMatching('circle') }),
  );
});

it.each(['dataset_info.json', 'dataset_dict.json', 'pretokenize.json'])(
  'nothing is put into a dataset, told by its %s, on whatever way one comes there',
  (name) => {
    mkdirSync(join(folder, 'made'));
    writeFileSync(join(folder, 'made', name), '{}');
    symlinkSync('made', join(folder, 'link'));
    for (const inside of ['made/new', 'made/a/b', 'link/new']) {
      const inDataset = { code: 'STORAGE', message: expect.stringContaining(`inside the dataset "${folder}/made"`) };
      expect(() => place(inside), inside).toThrow(expect.objectContaining(inDataset));
    }
    expect(place('made')).toBe(join(folder, 'made'));
  },
);
