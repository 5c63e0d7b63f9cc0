import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Command, commandLineForTests } from '../command-line.ts';
import { orphans } from '../orphans.ts';
import { endlessRun, tinyRun } from '../tiny-run.ts';

const { folder, marker, run, start, workerOf } = commandLineForTests();

async function training(name: string): Promise<Command> {
  const command = start(endlessRun('--name', name, '--json', '--max_restarts', '0'));
  await command.saw('"step":99');
  return command;
}

describe('a run whose processes die', () => {
  it('worker killed: WORKER_LOST with signal, step and what to lower; exit code 6, nothing left', async () => {
    const command = await training('worker-killed');
    process.kill(workerOf(command), 'SIGKILL');
    const { code, stdout } = await command.ended;
    const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
    expect(error).toMatchObject({ code: 'WORKER_LOST', exit_code: 6, details: { signal: 'SIGKILL', op: 'train' } });
    expect(error.message).toMatch(
      /^The worker was killed by SIGKILL, most likely out of memory during "train", stage "train" at \d+/,
    );
    expect(error.hint).toContain('lower train_batch_size_tokens');
    expect(error.details.done).toBeGreaterThan(0);
    expect(code).toBe(6);
    expect(await orphans(marker)).toEqual([]);
  });

  it('orchestrator killed: the worker is gone within five seconds, and the run folder can be used again', async () => {
    const command = await training('orchestrator-killed');
    process.kill(command.pid, 'SIGKILL');
    await command.ended;
    expect(await orphans(marker, 5_000)).toEqual([]);
    expect(existsSync(join(folder, 'runs/orchestrator-killed/lock.json'))).toBe(true);
    const again = await run(tinyRun('--name', 'orchestrator-killed'));
    expect(again.stderr).toContain(`Took the folder over from process ${command.pid}, which is gone`);
    expect(again.code).toBe(0);
  });

  it('a second run of the same name is refused while the first one lives, with its pid', async () => {
    const command = await training('taken');
    const { code, stderr } = await run(tinyRun('--name', 'taken'));
    expect(stderr).toMatch(new RegExp(`error STORAGE {2}Cannot train in ".*/runs/taken": process ${command.pid} on `));
    expect(code).toBe(7);
    command.child.kill('SIGINT');
    command.child.kill('SIGINT');
    await command.ended;
  });

  it('a loss that is not finite: exit code 5 with step, term and learning rate, and no SAE is left', async () => {
    const { code, stderr } = await run(tinyRun('--name', 'nan', '--lr', '1e6', '--training_tokens', '12800'));
    expect(stderr).toMatch(/error NOT_FINITE {2}training step \d+: mse_loss.* learning rate 1e\+06[\s\S]*hint: /);
    expect(code).toBe(5);
    expect(existsSync(join(folder, 'runs/nan/output'))).toBe(false);
  });

  it('a loss that explodes: exit code 5 where stop_on_loss_explosion asks for it, before an SAE of it is left; else a warning', async () => {
    const rising = ['--lr', '1', '--lr_warm_up_steps', '400', '--lr_decay_steps', '0', '--training_tokens', '51200'];
    const flags = tinyRun('--wandb_log_frequency', '1', '--n_eval_batches', '0', '--n_checkpoints', '9', ...rising);
    const [stopped, warned] = await Promise.all([
      run([...flags, '--name', 'stopped', '--stop_on_loss_explosion', 'true']),
      run([...flags, '--name', 'warned']),
    ]);
    const loss = / the loss is (\S+), and was (\S+) until then/;
    expect(stopped.stderr).toMatch(/error LOSS_EXPLODED {2}training step \d+: the loss is[\s\S]*hint: Lower lr/);
    expect(stopped.code).toBe(5);
    const [, seen, usual] = loss.exec(stopped.stderr) ?? [];
    expect(Number(seen)).toBeGreaterThan(100 * Number(usual));
    expect(existsSync(join(folder, 'runs/stopped/output'))).toBe(false);
    const [, step] = /training step (\d+)/.exec(stopped.stderr) ?? [];
    const after = readdirSync(join(folder, 'runs/stopped/checkpoints')).map(Number);
    expect(after.every((samples) => samples <= 128 * Number(step))).toBe(true);
    expect([warned.code, warned.stderr]).toEqual([
      0,
      expect.stringMatching(/^warning: training step \d+: the loss is/m),
    ]);
  });
});

describe('a run that learns nothing', () => {
  it('says that no latent is active, once, and goes on to its end', async () => {
    const sparse = ['--architecture', 'standard', '--l1_coefficient', '1e4', '--l1_warm_up_steps', '0', '--lr', '0.1'];
    const flags = ['--training_tokens', '6400', '--wandb_log_frequency', '1', '--lr_warm_up_steps', '0'];
    const { code, stderr } = await run(tinyRun('--name', 'silent', ...sparse, ...flags));
    expect(
      stderr.match(/^warning: training step \d+: no latent is active \(L0 is 0\): lower lr/gm),
      stderr,
    ).toHaveLength(1);
    expect(stderr).toContain('Done: 50 steps');
    expect(code).toBe(0);
  });
});

describe('a command with a fault of ours in it (L7)', () => {
  it.each([
    ['an exception that nobody catches', "throw new Error('boom')"],
    ['a rejection that nobody handles', "Promise.reject(new Error('boom'))"],
  ])('%s: BUG with its stack and what to do, exit code 1, nothing left', async (_, fault) => {
    const script = `process.on('SIGUSR2', () => { ${fault} })`;
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(script)}` };
    const command = start(endlessRun('--name', fault.slice(0, 5)), { env });
    await command.saw('step ');
    expect(workerOf(command)).toBeGreaterThan(0);
    process.kill(command.pid, 'SIGUSR2');
    const { code, stderr } = await command.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /error BUG {2}boom\nError: boom\n +at [\s\S]*hint: this is a fault of sae-lens-ts: report it/,
    );
    expect(await orphans(marker)).toEqual([]);
  });
});
