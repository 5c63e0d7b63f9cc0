import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isFeaturesFolder, writeFeaturesFolder } from '../../../src/artifacts/features-folder.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slts-features-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = async (staging: string): Promise<void> => writeFileSync(join(staging, 'data', 'about.js'), 'about');

describe('a folder of features', () => {
  it('is written over what a killed collection left', async () => {
    const output = join(folder, 'features');
    mkdirSync(join(`${output}.partial`, 'data'), { recursive: true });
    writeFileSync(join(`${output}.partial`, 'data', 'chunk-00000.js'), 'half');
    await writeFeaturesFolder(output, write);
    expect(await isFeaturesFolder(output)).toBe(true);
    expect(readdirSync(join(output, 'data'))).toEqual(['about.js']);
    expect(existsSync(`${output}.partial`)).toBe(false);
  });

  it("is not written where a person's folder has the name of its staging folder, which stays as it is", async () => {
    const output = join(folder, 'download');
    mkdirSync(`${output}.partial`);
    writeFileSync(join(`${output}.partial`, 'film.mkv'), 'mine');
    await expect(writeFeaturesFolder(output, write)).rejects.toMatchObject({
      code: 'STORAGE',
      message: expect.stringContaining('film.mkv is there'),
    });
    expect(readdirSync(folder)).toEqual(['download.partial']);
    expect(readdirSync(`${output}.partial`)).toEqual(['film.mkv']);
  });

  it.each(['notes.txt', 'notes.txt/below', 'notes.txt/far/below'])(
    'is not written where a file is: %s',
    async (output) => {
      writeFileSync(join(folder, 'notes.txt'), 'mine');
      await expect(writeFeaturesFolder(join(folder, output), write)).rejects.toMatchObject({
        code: 'STORAGE',
        message: expect.stringContaining('a file is there, or is a part of the path'),
      });
      expect(readdirSync(folder)).toEqual(['notes.txt']);
    },
  );

  it('takes the place of an older one, but not of one in which a person has put something', async () => {
    const output = join(folder, 'features');
    await writeFeaturesFolder(output, write);
    await writeFeaturesFolder(output, write);
    writeFileSync(join(output, 'data', 'notes.md'), 'mine');
    await expect(writeFeaturesFolder(output, write)).rejects.toMatchObject({
      code: 'STORAGE',
      message: expect.stringContaining('data/notes.md is there'),
    });
    expect(readdirSync(join(output, 'data'))).toEqual(['about.js', 'notes.md']);
    expect(readdirSync(folder)).toEqual(['features']);
  });

  it('stays where a person puts something into the older one meanwhile', async () => {
    const output = join(folder, 'features');
    await writeFeaturesFolder(output, write);
    const slow = async (staging: string): Promise<void> => {
      await write(staging);
      writeFileSync(join(output, 'notes.md'), 'mine');
    };
    await expect(writeFeaturesFolder(output, slow)).rejects.toMatchObject({ code: 'STORAGE' });
    expect(existsSync(join(output, 'notes.md'))).toBe(true);
  });

  it("of a replacement that was killed is removed, but not with a person's file in it", async () => {
    const output = join(folder, 'features');
    for (const old of [`${output}.old-00000001`, `${output}.old-00000002`]) await writeFeaturesFolder(old, write);
    writeFileSync(join(`${output}.old-00000002`, 'notes.md'), 'mine');
    mkdirSync(output);
    await writeFeaturesFolder(output, write);
    expect(readdirSync(folder)).toEqual(['features', 'features.old-00000002']);
  });
});
