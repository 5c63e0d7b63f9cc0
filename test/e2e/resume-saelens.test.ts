import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { tinyModel } from '../tiny-run.ts';

const JUDGE = process.env.SAE_LENS_TS_JUDGE_PYTHON;
const { folder, run } = commandLineForTests();

describe.skipIf(JUDGE === undefined)('a checkpoint of the training of SAELens', () => {
  let checkpoint: string;
  const words = (name: string, ...flags: string[]): string[] => [
    ...['train', '--from', checkpoint, '--resume_from_checkpoint', checkpoint, '--device', 'cpu', '--name', name],
    ...['--log_to_wandb', 'false', '--wandb_log_frequency', '1', '--n_eval_batches', '1', ...flags],
  ];
  beforeAll(() => {
    copyFileSync(join(tinyModel(), 'text.jsonl'), join(folder, 'text.jsonl'));
    const [script, model] = ['test/fixtures/saelens_run.py', join(tinyModel(), 'model')];
    execFileSync(JUDGE as string, [script, model, join(folder, 'text.jsonl'), join(folder, 'theirs')], {
      stdio: 'pipe',
    });
    const [id = ''] = readdirSync(join(folder, 'theirs/checkpoints'));
    checkpoint = join(folder, 'theirs/checkpoints', id, '2688');
  });

  it('is gone on from with the same settings; what it lacks is said and written down; the loss does not jump', async () => {
    const { code, stderr } = await run(words('onward'));
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`Going on from ${checkpoint}, which SAELens wrote, not exactly:`);
    expect(stderr).toContain('the mixing buffer is filled anew');
    const { sessions } = JSON.parse(readFileSync(join(folder, 'runs/onward/run.json'), 'utf8'));
    expect(sessions[0]).toMatchObject({ from: checkpoint, ended: 'done' });
    expect(sessions[0].inexact).toContain('random numbers are drawn anew');
    const rows = readFileSync(join(folder, 'runs/onward/metrics.jsonl'), 'utf8').trimEnd().split('\n');
    const losses = rows.map((row) => JSON.parse(row)).filter((row) => 'losses/mse_loss' in row);
    expect(losses.map(({ step }) => step)).toEqual(Array.from({ length: 19 }, (_, n) => 21 + n));
    const { 'metrics/explained_variance': variance } = losses[0];
    expect(variance).toBeGreaterThan(0.5);
  });

  it.each([
    ['another SAE', ['--k', '5'], 'its SAE was another one:\nsae.k: 4 then, 5 now'],
    ['another model', ['--hook_name', 'model.layers.1'], 'hook_name: "model.layers.0" then, "model.layers.1" now'],
  ])('with %s is refused, or told', async (what, flags, said) => {
    const { code, stderr } = await run(words(what.replaceAll(' ', '-'), ...flags));
    expect(stderr).toContain(said);
    expect(code).toBe(what === 'another SAE' ? 2 : 0);
  });

  it('that is a pickle with code is refused, and nothing of it runs', async () => {
    const code = `import os, torch, sys
class Code:
    def __reduce__(self): return os.mkdir, (sys.argv[2],)
torch.save({'optimizer': Code()}, sys.argv[1])`;
    const ran = join(folder, 'ran');
    execFileSync(JUDGE as string, ['-c', code, join(checkpoint, 'trainer_state.pt'), ran]);
    const ended = await run(words('code'));
    expect([ended.code, ended.stderr]).toEqual([4, expect.stringContaining('PICKLE_REFUSED')]);
    expect(readdirSync(folder)).not.toContain('ran');
  });
});
