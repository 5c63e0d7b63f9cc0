import { describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { run } = commandLineForTests();

describe('inputs that are not there or do not fit end with exit code 4 and what to do', () => {
  it.each<[string, string[], string, RegExp]>([
    ['a wrong d_in', ['--d_in', '33'], 'D_IN_MISMATCH', /sae.d_in is 33.* 32 wide[\s\S]*hint: Set d_in to 32/],
    ['a missing dataset', ['--dataset_path', '/no/such.jsonl'], 'DATASET_NOT_FOUND', /'\/no\/such.jsonl'[\s\S]*hint: /],
    ['a missing model', ['--model_name', '/no/such'], 'MODEL_NOT_FOUND', /'\/no\/such'[\s\S]*hint: /],
  ])('%s', async (_, flags, code, words) => {
    const { code: exitCode, stderr, stdout } = await run(tinyRun(...flags));
    expect(stderr).toContain(`error ${code}  `);
    expect(stderr).toMatch(words);
    expect([exitCode, stdout]).toEqual([4, '']);
  });

  it('with W&B on, which it is by default, a start that fails ends the command too', async () => {
    const env = { WANDB_MODE: 'offline' };
    const flags = ['--model_name', 'bundled:nope', '--log_to_wandb', 'true'];
    const { code, stderr, seconds } = await run(tinyRun(...flags), { env });
    expect(stderr).toContain('error MODEL_NOT_FOUND  ');
    expect(stderr).not.toContain('W&B');
    expect(code).toBe(4);
    expect(seconds).toBeLessThan(20);
  });

  it('an unknown hook names the nearest and the command that lists them, and that command works', async () => {
    const unknown = await run(tinyRun('--hook_name', 'model.layers.9'));
    const { stderr } = unknown;
    expect(stderr).toMatch(/error HOOK_NOT_FOUND {2}.*Nearest: (\S+), (\S+), (\S+)\n/);
    expect([unknown.code, unknown.stdout]).toEqual([4, '']);
    const [, command = ''] = /List them with `sae-lens-ts ([^`]+)`/.exec(stderr) ?? [];
    const { code, stdout } = await run(command.split(' '));
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model\.layers\.\{0…1\} +\[batch, pos, 32\] +32$/m);
    expect(command).toContain(tinyModel());
  });
});
