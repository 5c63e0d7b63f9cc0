import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { commitFolder, removeAbandoned, stagingSuffix } from '../../../src/artifacts/checkpoints.ts';
import { verifyFolder } from '../../../src/artifacts/manifest.ts';
import { requireReplaceable } from '../../../src/artifacts/replace-folder.ts';
import { writeSaeFolder } from '../../fixtures/sae-folder.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'several-'));
});

/** A staging folder of these SAEs beside `final`. */
function staged(final: string, ...names: string[]): string {
  const staging = `${final}.${stagingSuffix()}`;
  for (const name of names) writeSaeFolder(join(staging, name));
  return staging;
}

const commit = (final: string, staging: string, ...names: string[]) =>
  commitFolder({
    staging,
    final,
    kind: 'output',
    nTrainingSamples: 1,
    runnerConfigs: new Map(names.map((name) => [name, { name }])),
    keep: false,
  });

describe('the folder of several SAEs', () => {
  it('becomes complete at once: each with its configuration and its manifest', async () => {
    const final = join(folder, 'output');
    await commit(final, staged(final, 'a', 'b'), 'a', 'b');
    expect(readdirSync(folder)).toEqual(['output']);
    for (const name of ['a', 'b']) {
      await verifyFolder(join(final, name));
      expect(JSON.parse(readFileSync(join(final, name, 'runner_cfg.json'), 'utf8'))).toEqual({ name });
    }
  });

  it('is not there while one of its SAEs is not whole', async () => {
    const final = join(folder, 'output');
    await expect(commit(final, staged(final, 'a'), 'a', 'b')).rejects.toMatchObject({ code: 'SAE_INVALID' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes the place of another as a whole, and of nobody’s else', async () => {
    const final = join(folder, 'output');
    await commit(final, staged(final, 'a', 'b'), 'a', 'b');
    await commit(final, staged(final, 'c'), 'c');
    expect(readdirSync(final)).toEqual(['c']);
    writeFileSync(join(final, 'c', 'notes.txt'), 'mine');
    await expect(requireReplaceable(final)).rejects.toMatchObject({ message: expect.stringContaining('c/notes.txt') });
    const other = join(folder, 'other');
    mkdirSync(join(other, 'empty'), { recursive: true });
    await expect(requireReplaceable(other)).rejects.toMatchObject({ message: expect.stringContaining('is no SAE') });
  });

  it('that a killed run left half is removed, one with a person’s file is not', async () => {
    const checkpoints = join(folder, 'checkpoints');
    const [left, mine] = ['100', '200'].map((name) => staged(join(checkpoints, name), 'a', 'b')) as [string, string];
    writeFileSync(join(mine, 'a', 'notes.txt'), 'mine');
    expect(await removeAbandoned({ checkpoints, output: join(folder, 'output') })).toEqual([left]);
    expect(readdirSync(checkpoints)).toHaveLength(1);
  });
});
