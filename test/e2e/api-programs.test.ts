import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyModel, tokenizedRows } from '../fixtures/tiny-model.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { installPackage, runProgram, typeErrors } from '../user-project.ts';

const LONG_MS = 180_000;
const marker = newMarker();
const env = { [MARKER]: marker, SAE_LENS_TS_PYTHON: pythonForTests(), HF_HUB_OFFLINE: '1', OMP_NUM_THREADS: '1' };
let folder: string;

/** The sample of the original documentation, with another model, dataset and number of tokens and nothing else. */
const seedSample = (): string => {
  const replace: [string, string][] = [
    ['../../src/index.ts', 'sae-lens-ts'],
    ['tiny-stories-1L-21M', './model'],
    ['d_in: 1024', 'd_in: 32'],
    ['apollo-research/roneneldan-TinyStories-tokenizer-gpt2', './long-rows.jsonl'],
    ['total_training_steps = 30_000', 'total_training_steps = 40'],
  ];
  return replace.reduce(
    (source, [from, to]) => {
      expect(source).toContain(from);
      return source.replace(from, to);
    },
    readFileSync('test/fixtures/seed-sample.ts', 'utf8'),
  );
};

const programs: Record<string, string> = {
  'seed-sample': `${seedSample()}
    import { SAETrainingRunner } from 'sae-lens-ts';
    const run = await new SAETrainingRunner(sample(), { name: 'seed' }).start();
    const { ended, output, nTrainingSteps, metrics } = await run.done;
    console.log(JSON.stringify({ ended, output, nTrainingSteps, loss: metrics['losses/overall_loss'] }));`,
  import: `
    const before = process.eventNames().map(String);
    await import('sae-lens-ts');
    await new Promise((loaded) => setTimeout(loaded, 100));
    console.log(JSON.stringify({
      handlers: process.eventNames().map(String).filter((name) => !before.includes(name)),
      resources: process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap'),
    }));
    export {};`,
  'last-close': `
    import { SAE } from 'sae-lens-ts';
    const saes = await Promise.all([1, 2].map(() => SAE.loadFromDisk(process.env.FOLDER!)));
    await Promise.all(saes.map((sae) => sae.encode(new Float32Array(sae.dIn))));
    for (const sae of saes) await sae.close();
    console.log(Date.now());`,
};

beforeAll(async () => {
  folder = tinyModel();
  tokenizedRows(join(folder, 'long-rows.jsonl'), 900, 256);
  installPackage(folder);
  for (const [name, source] of Object.entries(programs)) writeFileSync(join(folder, `${name}.ts`), source);
}, LONG_MS);
afterAll(async () => {
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

const run = async (name: string, more: NodeJS.ProcessEnv = {}) => {
  const ended = await runProgram(folder, name, programs[name] as string, { ...env, ...more });
  expect([ended.code, ended.stderr]).toEqual([0, '']);
  return ended;
};

describe('programs of a user who installed the package', { timeout: LONG_MS }, () => {
  it('type-check against the types it brings', async () => {
    expect(await typeErrors(folder)).toBe('');
  });

  it('import it without starting anything or adding a handler', async () => {
    const { stdout, seconds } = await run('import');
    expect(JSON.parse(stdout)).toEqual({ handlers: [], resources: [] });
    expect(seconds).toBeLessThan(10);
  });

  it('run the sample of the original documentation, W&B offline included', async () => {
    const { stdout } = await run('seed-sample', { WANDB_MODE: 'offline' });
    expect(JSON.parse(stdout)).toMatchObject({ ended: 'done', nTrainingSteps: 40, loss: expect.any(Number) });
    const wandb = readdirSync(join(folder, 'runs', 'seed', 'wandb'), { recursive: true, encoding: 'utf8' });
    expect(wandb.some((path) => path.endsWith('.wandb'))).toBe(true);
  });

  it('end within two seconds of their last close', async () => {
    const { stdout } = await run('last-close', { FOLDER: join(folder, 'runs', 'seed', 'output') });
    expect(Date.now() - Number(stdout)).toBeLessThan(2_000);
  });
});
