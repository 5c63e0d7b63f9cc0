import { appendFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commitFolder, stagingSuffix } from '../../../src/artifacts/checkpoints.ts';
import { readResumePoint } from '../../../src/artifacts/resume-point.ts';
import { writeSaeFolder, writeTrainingState } from '../../fixtures/sae-folder.ts';

async function checkpoint(): Promise<string> {
  const final = join(mkdtempSync(join(tmpdir(), 'resume-point-')), '128');
  const staging = `${final}.${stagingSuffix()}`;
  writeSaeFolder(staging);
  writeTrainingState(staging, 128);
  const runnerConfigs = new Map([[null, { seed: 7 }]]);
  await commitFolder({ staging, final, kind: 'checkpoint', nTrainingSamples: 128, runnerConfigs, keep: false });
  return final;
}

test.each(['.', 'theirs'])(
  'a file of the training of SAELens in %s of a checkpoint of ours makes it no other',
  async (below) => {
    const folder = await checkpoint();
    mkdirSync(join(folder, below), { recursive: true });
    writeFileSync(join(folder, below, 'trainer_state.pt'), 'of another training');
    expect(await readResumePoint(folder)).toMatchObject({ nTrainingSamples: 128, config: { seed: 7 }, inexact: [] });
    appendFileSync(join(folder, 'training_state.safetensors'), 'x');
    await expect(readResumePoint(folder)).rejects.toMatchObject({ code: 'SAE_INVALID' });
  },
);

test('a folder with that file and no manifest is of SAELens', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'resume-point-')), '2688');
  mkdirSync(folder);
  writeFileSync(join(folder, 'trainer_state.pt'), '');
  const point = await readResumePoint(folder);
  expect(point).toMatchObject({ nTrainingSamples: 2688, config: {} });
  expect(point.inexact).toContain('the mixing buffer is filled anew');
});
