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
});
