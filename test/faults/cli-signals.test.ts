import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { type Command, commandLineForTests, events } from '../command-line.ts';
import { marked, orphans } from '../orphans.ts';
import { endlessRun } from '../tiny-run.ts';

const { folder, marker, start, workerOf } = commandLineForTests();
const checkpoints = (name: string): string => join(folder, 'runs', name, 'checkpoints');

/** A run that is training: its first row of metrics was seen. */
async function training(name: string, ...flags: string[]): Promise<Command> {
  const command = start(endlessRun('--name', name, '--json', ...flags));
  await command.saw('"event":"metrics"');
  return command;
}

/** What a signal led to, and how long that took. */
async function signalled(command: Command, signal: NodeJS.Signals) {
  const began = performance.now();
  process.kill(command.pid, signal);
  const ended = await command.ended;
  const ms = performance.now() - began;
  expect(await orphans(marker), 'processes left behind').toEqual([]);
  return { ...ended, ms };
}

describe('a run that is told to end', () => {
  it.each<[NodeJS.Signals, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('%s once: finishes the step, leaves a verified checkpoint, ends with %i', async (signal, code) => {
    const name = `once-${signal}`;
    const { code: exitCode, ms, stderr, stdout } = await signalled(await training(name), signal);
    expect(exitCode).toBe(code);
    expect(ms).toBeLessThan(8_000);
    expect(stderr).toContain('finishing the step, then saving a checkpoint (Ctrl-C again to stop now)');
    const [saved] = readdirSync(checkpoints(name));
    const manifest = await verifyFolder(join(checkpoints(name), saved as string));
    expect(manifest).toMatchObject({ kind: 'checkpoint', n_training_samples: Number(saved) });
    expect(stderr).toContain(`checkpoint ${join(checkpoints(name), saved as string)}`);
    expect(events(stdout).at(-1)).toMatchObject({ event: 'finished', stopped: true, output: null });
    const rows = readFileSync(join(folder, 'runs', name, 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(JSON.parse(rows.at(-1) as string).step).toBeGreaterThan(0);
  });

  it('SIGINT twice: everything is gone within a second, and the last checkpoint is named', async () => {
    const command = await training('twice', '--n_checkpoints', '1000000');
    await command.saw('"event":"checkpoint"');
    // A worker that hangs: the first signal cannot be obeyed.
    process.kill(workerOf(command), 'SIGSTOP');
    process.kill(command.pid, 'SIGINT');
    await command.saw('Ctrl-C again to stop now');
    const { ms, code, stdout } = await signalled(command, 'SIGINT');
    expect(code).toBe(130);
    expect(ms).toBeLessThan(1_000);
    const { error } = events(stdout).at(-1) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: 'INTERRUPTED', message: 'The run was ended by SIGINT' });
    const [, kept = ''] = /^the last complete checkpoint is (\S+)$/m.exec(String(error.hint)) ?? [];
    await verifyFolder(kept);
  });

  it('SIGTERM where no checkpoint can be written in time: gone within ten seconds, and the one before stays (L3)', async () => {
    const command = await training('too-slow', '--n_checkpoints', '1000000');
    await command.saw('"event":"checkpoint"');
    process.kill(workerOf(command), 'SIGSTOP');
    const { ms, code, stdout } = await signalled(command, 'SIGTERM');
    expect(code).toBe(143);
    expect(ms).toBeLessThan(10_000);
    const { error } = events(stdout).at(-1) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: 'TERMINATED', message: 'The run was ended by SIGTERM' });
    const [, kept = ''] = /^the last complete checkpoint is (\S+)$/m.exec(String(error.hint)) ?? [];
    await verifyFolder(kept);
  });

  it('under nohup goes on when the terminal closes', async () => {
    const command = await training('under-nohup');
    process.kill(command.pid, 'SIGHUP');
    const rows = (): number => command.stdout.split('"event":"metrics"').length;
    for (const before = rows(); rows() < before + 3; ) {
      expect(command.child.exitCode ?? command.child.signalCode).toBeNull();
      await new Promise((next) => setTimeout(next, 50));
    }
    expect((await signalled(command, 'SIGTERM')).code).toBe(143);
  });

  it('SIGINT while the model is loading: ends at once, there is nothing to save', async () => {
    const command = start(endlessRun('--name', 'loading'));
    await command.saw('loading ');
    const { code, ms, stderr } = await signalled(command, 'SIGINT');
    expect(code).toBe(130);
    expect(ms).toBeLessThan(2_000);
    expect(stderr).toContain('error INTERRUPTED  The run was ended by SIGINT');
  });

  it('SIGINT while the worker is starting', async () => {
    const command = start(endlessRun('--name', 'starting'));
    await command.saw('files  ');
    const { code, ms } = await signalled(command, 'SIGINT');
    expect(code).toBe(130);
    expect(ms).toBeLessThan(5_000);
  });

  it('SIGINT while something hangs before the run begins: ends within seconds, with the error', async () => {
    const python = join(folder, 'python-that-hangs');
    writeFileSync(python, '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
    const command = start(endlessRun('--name', 'hanging'), { env: { SAE_LENS_TS_PYTHON: python } });
    while (marked(marker).length < 2) await new Promise((next) => setTimeout(next, 50));
    const { code, ms, stderr } = await signalled(command, 'SIGINT');
    expect(stderr).toContain('error INTERRUPTED  The run was ended by SIGINT');
    expect(code).toBe(130);
    expect(ms).toBeLessThan(5_000);
  });
});
