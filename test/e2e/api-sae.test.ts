import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  BatchTopKTrainingSAEConfig,
  GatedTrainingSAEConfig,
  JumpReLUTrainingSAEConfig,
  type LoadOptions,
  MatryoshkaBatchTopKTrainingSAEConfig,
  python,
  SAE,
  SAETrainingRunner,
  StandardTrainingSAEConfig,
  startWorker,
  TopKTrainingSAEConfig,
} from '../../src/index.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { tinyModel, tinyRun } from '../fixtures/tiny-model.ts';
import { MARKER, marked, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';

const SIZES = { d_in: 32, d_sae: 64 };
const CONFIGS = {
  standard: new StandardTrainingSAEConfig({
    ...SIZES,
    l1_coefficient: 0.1,
    normalize_activations: 'expected_average_only_in',
  }),
  gated: new GatedTrainingSAEConfig({ ...SIZES, l1_coefficient: 0.1 }),
  jumprelu: new JumpReLUTrainingSAEConfig({ ...SIZES, l0_coefficient: 0.1 }),
  topk: new TopKTrainingSAEConfig({ ...SIZES, k: 4 }),
  batchtopk: new BatchTopKTrainingSAEConfig({ ...SIZES, k: 3.5, topk_threshold_lr: 0.1 }),
  matryoshka_batchtopk: new MatryoshkaBatchTopKTrainingSAEConfig({
    ...SIZES,
    k: 4,
    matryoshka_widths: [8, 24],
    topk_threshold_lr: 0.1,
  }),
};
/** Over a batch there is no batch in a finished SAE: what is saved has a threshold. */
const savedAs = (architecture: string): string => (architecture.endsWith('batchtopk') ? 'jumprelu' : architecture);
type Architecture = keyof typeof CONFIGS;
const ARCHITECTURES = Object.keys(CONFIGS) as Architecture[];
const ROWS = 50;
const JUDGE = process.env.SAE_LENS_TS_JUDGE_PYTHON;

const marker = newMarker();
const x = Float32Array.from({ length: ROWS * 32 }, (_, i) => Math.sin(i * i) * 2 + 0.3);
let folder: string;
/** The finished SAE of each architecture, trained through the API. */
const outputs = {} as Record<Architecture, string>;

beforeAll(async () => {
  process.env[MARKER] = marker;
  folder = tinyModel();
  const worker = await startWorker();
  for (const architecture of ARCHITECTURES) {
    const cfg = tinyRun(folder, CONFIGS[architecture], 3_200);
    const run = await new SAETrainingRunner(cfg, { worker, runsFolder: join(folder, 'runs') }).start();
    outputs[architecture] = (await run.done).output as string;
  }
  await worker.shutdown();
  writeFileSync(join(folder, 'x'), x);
});
afterAll(async () => {
  expect(await orphans(marker), 'processes left behind').toEqual([]);
});

const floats = (path: string): Float32Array => new Float32Array(new Uint8Array(readFileSync(path)).buffer);
const farthest = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b[i] as number))), 0);
};

describe.each([
  ['our own Python', 'pyworker', pythonForTests()],
  ['SAELens', 'saelens', JUDGE],
] as const)('what the API trained, encoded and decoded by %s', (_, who, interpreter) => {
  it.skipIf(interpreter === undefined)('is equal to 1e-5, for every architecture', async () => {
    const folders = Object.values(outputs);
    execFileSync(interpreter as string, ['test/fixtures/reference.py', 'sae', who, join(folder, 'x'), ...folders]);
    const worker = await startWorker();
    for (const architecture of ARCHITECTURES) {
      const sae = await SAE.loadFromDisk(outputs[architecture], { worker });
      expect(sae.architecture).toBe(savedAs(architecture));
      const latents = await sae.encode(x);
      expect(latents.some((value) => value !== 0)).toBe(true);
      expect(farthest(latents, floats(join(outputs[architecture], `latents.${who}`)))).toBeLessThan(1e-5);
      const back = await sae.decode(latents);
      expect(farthest(back, floats(join(outputs[architecture], `reconstruction.${who}`)))).toBeLessThan(1e-5);
    }
    await worker.shutdown();
  });
});

describe('SAEs without a worker of one’s own', () => {
  it('share one, which ends with the last of them', async () => {
    const first = await SAE.loadFromDisk(outputs.topk);
    const alone = marked(marker);
    const second = await SAE.loadFromDisk(outputs.standard);
    expect(marked(marker)).toEqual(alone);
    expect(second.sparsity).toHaveLength(64);
    const [a, b] = await Promise.all([first.encode(x), second.encode(x)]);
    expect([a.length, b.length]).toEqual([ROWS * 64, ROWS * 64]);
    await first.close();
    await first.close();
    expect(marked(marker)).toEqual(alone);
    expect(await second.encode(x)).toEqual(b);
    await second.close();
    expect(await orphans(marker, 2_000)).toEqual([]);
  });

  describe('while one is held', () => {
    let held: SAE;
    beforeAll(async () => {
      held = await SAE.loadFromDisk(outputs.topk);
    });
    afterAll(() => held.close());

    it('say what is wrong with a call: a closed SAE, numbers that are no rows, a folder that is no SAE', async () => {
      const sae = await SAE.loadFromDisk(outputs.topk);
      await expect(sae.encode(new Float32Array(33))).rejects.toMatchObject({
        code: 'USAGE',
        message: 'Cannot encode 33 numbers: rows of 32 are needed',
      });
      expect(await sae.encode(new Float32Array(0))).toHaveLength(0);
      await sae.close();
      await expect(sae.encode(x)).rejects.toMatchObject({ code: 'USAGE' });
      await expect(SAE.loadFromDisk(folder)).rejects.toMatchObject({ code: 'SAE_INVALID' });
      await expect(SAE.loadFromDisk(undefined as never)).rejects.toMatchObject({ code: 'USAGE' });
      await expect(SAE.fromPretrained('a/b', 3 as never)).rejects.toMatchObject({ code: 'USAGE' });
      await expect(startWorker({ stageDeadlinesMs: { train: -1 } })).rejects.toMatchObject({ code: 'USAGE' });
    });

    it('take other numbers than float32 for what they are, and no bytes for numbers', async () => {
      const sae = await SAE.loadFromDisk(outputs.topk);
      const expected = await sae.encode(x.subarray(0, 64));
      const numbers = [...x.subarray(0, 64)];
      expect(await sae.encode([numbers.slice(0, 32), numbers.slice(32)])).toEqual(expected);
      expect(await sae.encode(Float64Array.from(numbers))).toEqual(expected);
      const ints = new Int32Array(64).fill(1) as unknown as Float32Array;
      for (const call of [sae.encode(ints), sae.decode(ints)]) {
        await expect(call).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('an Int32Array') });
      }
      await sae.close();
    });

    it.each([
      [{ device: 'banana' }, 'USAGE', 'options: device: expected cpu, cuda, cuda:N or mps'],
      [{ dtype: 'float8' }, 'USAGE', 'options: dtype'],
      [{ worker: {} }, 'USAGE', 'options: worker: is not a worker of startWorker()'],
      [{ devise: 'cpu' }, 'USAGE', 'devise'],
      [null, 'USAGE', 'options: '],
      [{ device: 'cuda:99' }, 'DEVICE_UNAVAILABLE', 'cuda:99'],
    ])('refuse to be loaded with %j', async (options, code, message) => {
      const error = { code, message: expect.stringContaining(message) };
      await expect(SAE.loadFromDisk(outputs.topk, options as LoadOptions)).rejects.toMatchObject(error);
    });

    it('take large inputs in parts', async () => {
      const sae = await SAE.loadFromDisk(outputs.standard);
      const rows = 2 ** 18 + 3; // three more than fit one call
      const large = new Float32Array(rows * 32).map((_, i) => x[i % x.length] as number);
      const latents = await sae.encode(large);
      expect(latents).toHaveLength(rows * 64);
      const end = large.subarray((rows - ROWS) * 32);
      expect(farthest(await sae.encode(end), latents.subarray((rows - ROWS) * 64))).toBeLessThan(1e-5);
      await sae.close();
    });
  });

  it('are lost with their worker; the next one has a new one', async () => {
    const sae = await SAE.loadFromDisk(outputs.topk);
    for (const pid of marked(marker)) process.kill(pid, 'SIGKILL');
    await expect(sae.encode(x)).rejects.toMatchObject({ code: 'WORKER_LOST' });
    const [next, last] = [await SAE.loadFromDisk(outputs.topk), await SAE.loadFromDisk(outputs.gated)];
    await sae.close();
    await next.close();
    expect(await last.encode(x)).toHaveLength(ROWS * 64);
    await last.close();
  });
});

describe('an SAE of a worker that trains', () => {
  it('is not encoded with, can be closed, and serves again when the run has ended', async () => {
    const worker = await startWorker();
    const load = () => SAE.loadFromDisk(outputs.topk, { worker });
    const [sae, other] = [await load(), await load()];
    const cfg = tinyRun(folder, CONFIGS.topk, 6_400_000);
    const run = await new SAETrainingRunner(cfg, { worker, runsFolder: join(folder, 'runs') }).start();
    const busy = { code: 'USAGE', message: 'Cannot run "encode": the worker is busy with "train" until that ends' };
    await expect(sae.encode(x)).rejects.toMatchObject(busy);
    await other.close();
    await run.stop();
    await run.done;
    expect(await sae.encode(x)).toHaveLength(ROWS * 64);
    await worker.shutdown();
  });
});

describe('an SAE of the hub', () => {
  it('is fetched and loaded by its repository and folder, with its dictionary and sparsity', async () => {
    const hub = await MockHub.start();
    const names = readdirSync(outputs.jumprelu).filter((name) => /\.(json|safetensors)$/.test(name));
    const files = names.map((name) => [`blocks.0/${name}`, readFileSync(join(outputs.jumprelu, name))]);
    hub.commit('user/repo', Object.fromEntries(files));
    vi.stubEnv('HF_ENDPOINT', hub.url);
    vi.stubEnv('HF_HUB_CACHE', join(folder, 'hub'));
    const [sae, cfgDict, sparsity] = await SAE.fromPretrained('user/repo', 'blocks.0');
    expect(cfgDict).toMatchObject({ architecture: 'jumprelu', d_in: 32, d_sae: 64 });
    expect(sparsity).toHaveLength(64);
    await hub.close();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const [again] = await SAE.fromPretrained('user/repo', 'blocks.0');
    expect(await again.encode(x)).toEqual(await sae.encode(x));
    await Promise.all([sae.close(), again.close()]);
    vi.unstubAllEnvs();
  });
});

it('gives notebooks the Python of the managed environment', async () => {
  const py = await python();
  const np = await py.import('numpy');
  const sum = await (await np.arange(6)).sum();
  expect(await sum.item()).toBe(15);
  expect(await py.call('sys', 'getrecursionlimit', [], {}, 5_000)).toBeGreaterThan(0);
  await py.close();
});
