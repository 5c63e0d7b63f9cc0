import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MockHub } from '../fixtures/mock-hub.ts';
import { executeNotebook, JUPYTER, type Kernel, kernels, readNotebook } from '../notebook.ts';
import { MARKER, newMarker, orphans } from '../orphans.ts';
import { pythonForTests } from '../python-for-tests.ts';
import { hasFixtures, SHARED } from '../shared-folder.ts';
import { installPackage } from '../user-project.ts';

const NOTEBOOK = readNotebook('docs/notebooks/train-and-share.ipynb');
const TOKEN = 'hf_planted0123456789abcdef';
/** npm brings tslab and pip brings nbconvert and Deno, the first time. */
const INSTALL_MS = 600_000;
const NOTEBOOK_MS = 240_000;
const HOOK = 'model.layers.2';
const marker = newMarker();
let hub: MockHub;
let folder: string;

/** The second cell with a model that is here, and so little to do that it takes seconds. */
const parameters = (repo: string, sae: object): string => `
  const options: LanguageModelSAERunnerOptions = ${JSON.stringify({
    model_name: `${SHARED}/fixtures/models/stories260K`,
    model_class_name: 'AutoModelForCausalLM',
    hook_name: HOOK,
    dataset_path: `${SHARED}/fixtures/datasets/tinystories`,
    streaming: false,
    sae,
    lr: 3e-3,
    context_size: 128,
    store_batch_size_prompts: 8,
    n_batches_in_buffer: 8,
    train_batch_size_tokens: 512,
    training_tokens: 160 * 512,
    n_eval_batches: 1,
    device: 'cpu',
    logger: { log_to_wandb: false, wandb_log_frequency: 5 },
  })};
  const repo = '${repo}';`;

const TOPK = { architecture: 'topk', d_in: 64, d_sae: 256, k: 8 };
const execute = (kernel: Kernel, source: string, notebook = NOTEBOOK) =>
  executeNotebook(notebook, {
    folder,
    kernel,
    parameters: source,
    env: {
      [MARKER]: marker,
      SAE_LENS_TS_PYTHON: pythonForTests(),
      OMP_NUM_THREADS: '1',
      HF_ENDPOINT: hub.url,
      HF_TOKEN: TOKEN,
      HF_HOME: join(folder, 'hub'),
    },
  });
const numberAfter = (words: string, text: string): number => Number(text.split(words)[1]?.match(/[\d.]+/)?.[0]);

it('the notebook of the documentation is kept without outputs', () => {
  for (const { outputs = [], execution_count = null } of NOTEBOOK.cells) {
    expect([outputs, execution_count]).toEqual([[], null]);
  }
});

describe.skipIf(!hasFixtures || !JUPYTER)('the notebook of the documentation', () => {
  const explained: number[] = [];

  beforeAll(async () => {
    hub = await MockHub.start();
    folder = mkdtempSync(join(tmpdir(), 'notebook-'));
    installPackage(folder);
    kernels();
  }, INSTALL_MS);
  afterAll(async () => {
    await hub.close();
    expect(await orphans(marker), 'processes left behind').toEqual([]);
  });

  it.each(['tslab', 'deno'] as const)(
    'trains, plots, encodes, shares and loads again under %s',
    async (kernel) => {
      const repo = `user/${kernel}`;
      const { code, stderr, text, pictures } = await execute(kernel, parameters(repo, TOPK));
      expect(code, stderr).toBe(0);

      expect(text('train')).toContain('512 rows of 64');
      const [plot = '', ...more] = pictures('watch');
      expect(more).toEqual([]);
      for (const title of ['Loss', 'L0', 'Explained variance']) expect(plot).toContain(`aria-label="${title}: from`);
      const points = /<polyline points="([^"]*)"/.exec(plot)?.[1]?.split(' ') ?? [];
      expect(points.length).toBeGreaterThan(20);
      expect(points.join(' ')).not.toContain('NaN');

      expect(text('result')).toContain('done after 160 steps');
      explained.push(numberAfter('explained variance', text('result')));
      expect(explained.at(-1)).toBeGreaterThan(0.75);
      expect(numberAfter('explained variance of the first batch', text('use'))).toBeGreaterThan(0.75);
      expect(text('use')).toContain('latents a row 8 of 256');

      const files = [...hub.files(repo).keys()].filter((path) => path.startsWith(HOOK));
      const four = ['cfg.json', 'runner_cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'];
      expect(files.sort()).toEqual(four.map((name) => `${HOOK}/${name}`));
      const card = hub.files(repo).get('README.md')?.toString();
      expect(card).toContain('library_name: saelens');
      expect(card).toContain(HOOK);
      expect(hub.repos.get(repo)?.token).toBe(TOKEN);
      expect(hub.repos.get(repo)?.log).toHaveLength(2);
      expect(text('again')).toContain('topk gives the same latents: true');
    },
    NOTEBOOK_MS,
  );

  it('gives the same numbers under both kernels', () => {
    expect(explained).toHaveLength(2);
    expect(explained[0]).toBe(explained[1]);
  });

  it(
    'refuses Python objects under Deno, which has no channel for them',
    async () => {
      const cells = NOTEBOOK.cells.filter(({ id }) => id === 'parameters');
      const { code, stderr, text } = await execute(
        'deno',
        `const { python } = await import('sae-lens-ts');
         await python().catch((error) => console.log(error.code, error.hint));`,
        { ...NOTEBOOK, cells },
      );
      expect(code, stderr).toBe(0);
      expect(text('injected-parameters')).toContain('USAGE use the tslab kernel');
    },
    NOTEBOOK_MS,
  );

  it(
    'shows a wrong option as a type error in the cell under tslab, and so fails',
    async () => {
      const { code, stderr } = await execute('tslab', parameters('user/none', { ...TOPK, l1Coefficient: 5 }));
      expect(code).toBe(1);
      expect(stderr).toMatch(/l1Coefficient\W+does not exist in type/);
      expect(hub.repos.has('user/none')).toBe(false);
    },
    NOTEBOOK_MS,
  );
});
