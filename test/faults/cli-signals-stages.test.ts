import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { type Command, commandLineForTests } from '../command-line.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { orphans } from '../orphans.ts';
import { endlessRun, tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, marker, run, start } = commandLineForTests();

/** What a signal led to, in the time that `docker stop` gives. */
async function ended(command: Command, signal: NodeJS.Signals) {
  const began = performance.now();
  process.kill(command.pid, signal);
  const how = await command.ended;
  expect(performance.now() - began).toBeLessThan(8_000);
  expect(await orphans(marker), 'processes left behind').toEqual([]);
  return how;
}

const savedIn = (name: string): string[] => {
  const checkpoints = join(folder, 'runs', name, 'checkpoints');
  return readdirSync(checkpoints).map((saved) => join(checkpoints, saved));
};

describe('SIGTERM, which leaves eight seconds (L3)', () => {
  it('while several SAEs train: one checkpoint with each of them', async () => {
    const saes = JSON.stringify({ wide: { d_sae: 128 }, fast: { lr: 1e-3 } });
    const command = start(endlessRun('--name', 'several', '--saes', saes));
    await command.saw('step ');
    expect((await ended(command, 'SIGTERM')).code).toBe(143);
    const [checkpoint = '', ...more] = savedIn('several');
    expect(more).toEqual([]);
    for (const sae of ['wide', 'fast']) await verifyFolder(join(checkpoint, sae));
  });

  it('while cached activations are trained on: a checkpoint', async () => {
    const data = ['--dataset_path', join(tinyModel(), 'text.jsonl'), '--streaming', 'false', '--context_size', '32'];
    const model = ['--model_name', join(tinyModel(), 'model'), '--model_class_name', 'AutoModelForCausalLM'];
    const place = ['--hook_name', 'model.layers.0', '--new_cached_activations_path', 'cached', '--device', 'cpu'];
    const sizes = ['--training_tokens', '640', '--model_batch_size', '4'];
    const made = await run(['cache-activations', ...data, ...model, ...place, ...sizes]);
    expect(made.code, made.stderr).toBe(0);
    const cached = ['--use_cached_activations', 'true', '--cached_activations_path', join(folder, 'cached')];
    const command = start(endlessRun('--name', 'from-cache', ...cached));
    await command.saw('step ');
    expect((await ended(command, 'SIGTERM')).code).toBe(143);
    for (const checkpoint of savedIn('from-cache')) await verifyFolder(checkpoint);
    expect(savedIn('from-cache')).toHaveLength(1);
  });

  it('while the model is loading: at once, with nothing to save', async () => {
    const command = start(endlessRun('--name', 'loading'));
    await command.saw('loading ');
    const { code, stderr } = await ended(command, 'SIGTERM');
    expect(code).toBe(143);
    expect(stderr).toContain('error TERMINATED');
  });

  it('while the finished SAE is evaluated, which may take minutes: the SAE is saved without its evaluation', async () => {
    const text = join(folder, 'long.jsonl');
    writeFileSync(text, readFileSync(join(tinyModel(), 'text.jsonl'), 'utf8').repeat(300));
    const command = start(tinyRun('--name', 'evaluated', '--dataset_path', text, '--n_eval_batches', '100000'));
    await command.saw('evaluating the finished SAE');
    const { code, stderr } = await ended(command, 'SIGTERM');
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('saved without its evaluation');
    await verifyFolder(join(folder, 'runs/evaluated/output'));
  });

  it('while an upload waits for the hub: it ends, and nothing is committed', async () => {
    const hub = await MockHub.start();
    hub.fault = (request) => /commit|preupload/.test(request.url ?? '');
    const env = { HF_ENDPOINT: hub.url, HF_TOKEN: 'hf_planted', HF_HUB_OFFLINE: undefined };
    const command = start(['upload', 'runs/evaluated', '--repo', 'user/sae'], { env });
    await expect.poll(() => hub.asked(/commit|preupload/), { timeout: 30_000 }).not.toEqual([]);
    expect((await ended(command, 'SIGTERM')).code).toBe(143);
    expect(hub.files('user/sae').has('README.md')).toBe(false);
    await hub.close();
  });
});
