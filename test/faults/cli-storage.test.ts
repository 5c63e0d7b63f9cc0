import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { commandLineForTests } from '../command-line.ts';
import { endlessRun, tinyRun } from '../tiny-run.ts';

const { folder, run, start } = commandLineForTests();

describe('a place that cannot be written to is found before the model is loaded (exit code 7)', () => {
  it.each(['runs_folder', 'output_path', 'checkpoint_path'])('%s', async (option) => {
    writeFileSync(join(folder, 'a-file'), '');
    const { code, stderr } = await run(tinyRun(`--${option}`, join(folder, 'a-file', 'below', 'it')));
    expect(stderr).toMatch(/error STORAGE {2}Cannot write to ".*\/a-file\/.*": ENOTDIR/);
    expect(stderr).toContain(`choose a folder you may write to: --${option}`);
    expect(stderr).not.toContain('loading');
    expect(code).toBe(7);
  });
});

const hasProc = existsSync('/proc/self');

describe.skipIf(!hasProc)('a place in which no folder can be made is refused at once, whoever asks', () => {
  it.each(['runs_folder', 'output_path', 'checkpoint_path'])('%s', async (option) => {
    const { code, stderr, seconds } = await run(tinyRun(`--${option}`, '/proc/none/below'));
    expect(stderr).toMatch(/error STORAGE {2}Cannot write to "\/proc\/none.*": ENOENT/);
    expect(stderr).toContain(`choose a folder you may write to: --${option}`);
    expect([code, stderr.includes('loading')]).toEqual([7, false]);
    expect(seconds).toBeLessThan(30);
  });
});

describe('a place with an odd name', () => {
  it('of letters of the world, long, with what a shell obeys, is used as it is written', async () => {
    const name = join('a b', '実験 ☃ ü', '$(touch harm); `x` "q"'.padEnd(240, 'x'));
    const { code, stderr } = await run(tinyRun('--runs_folder', name, '--name', 'r', '--n_checkpoints', '1'));
    expect(code, stderr).toBe(0);
    await verifyFolder(join(folder, name, 'r', 'output'));
    expect(readdirSync(join(folder, name, 'r', 'checkpoints'))).toHaveLength(1);
    expect(readdirSync(folder)).not.toContain('harm');
  });

  it('of 300 characters is refused at once, with the option', async () => {
    const { code, stderr } = await run(tinyRun('--runs_folder', 'x'.repeat(300)));
    expect(stderr).toMatch(/error STORAGE {2}.*ENAMETOOLONG[\s\S]*hint: .*--runs_folder/);
    expect([code, stderr.includes('loading')]).toEqual([7, false]);
  });

  it('links among the files of a run are not written through', async () => {
    const links = ['config.yaml', 'run.json', 'metrics.jsonl', 'log.jsonl', 'output'];
    mkdirSync(join(folder, 'runs', 'linked'), { recursive: true });
    mkdirSync(join(folder, 'elsewhere', 'output'), { recursive: true });
    for (const name of links) {
      if (name !== 'output') writeFileSync(join(folder, 'elsewhere', name), 'years of work');
      symlinkSync(join(folder, 'elsewhere', name), join(folder, 'runs', 'linked', name));
    }
    const { code, stderr } = await run(tinyRun('--name', 'linked'));
    expect(code, stderr).toBe(0);
    expect(readdirSync(join(folder, 'elsewhere', 'output'))).toEqual([]);
    for (const name of links.slice(0, -1)) {
      expect(readFileSync(join(folder, 'elsewhere', name), 'utf8'), name).toBe('years of work');
    }
    await verifyFolder(join(folder, 'runs', 'linked', 'output'));
  });
});

describe('two runs of one configuration at once', () => {
  it('each have a folder of their own when nobody named them', async () => {
    const flags = tinyRun('--runs_folder', 'twins');
    const both = await Promise.all([run(flags), run(flags)]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    const names = readdirSync(join(folder, 'twins')).sort();
    expect(names).toEqual([names[0], `${names[0]}-2`]);
    for (const name of names) expect(existsSync(join(folder, 'twins', name, 'output', 'cfg.json'))).toBe(true);
  });
});

describe('a place that holds what is not ours is refused before the model is loaded, and left as it is', () => {
  it.each([
    ['.', 'the run itself writes to'],
    ['thesis', 'it holds chapter.txt'],
  ])('--output_path %s', async (place, why) => {
    mkdirSync(join(folder, 'thesis'), { recursive: true });
    writeFileSync(join(folder, 'thesis', 'chapter.txt'), 'years of work');
    const { code, stderr } = await run(tinyRun('--output_path', place));
    expect(stderr).toMatch(/error STORAGE {2}Cannot save [\s\S]*hint: .*--output_path/);
    expect(stderr).toContain(why);
    expect([code, stderr.includes('loading')]).toEqual([7, false]);
    expect(readdirSync(join(folder, 'thesis'))).toEqual(['chapter.txt']);
  });

  it('two runs at once do not save to one place', async () => {
    const first = start(endlessRun('--name', 'first', '--output_path', 'shared', '--json'));
    await first.saw('"event":"started"');
    const second = await run(tinyRun('--name', 'second', '--output_path', 'shared'));
    expect(second.stderr).toMatch(new RegExp(`error STORAGE {2}Cannot train in ".*/shared": process ${first.pid} on `));
    expect(second.code).toBe(7);
    first.child.kill('SIGINT');
    expect((await first.ended).code).toBe(130);
  });
});

const disk = join(folder, 'disk');
mkdirSync(disk);
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status === 0;
const filler = join(disk, 'filler');
afterAll(() => {
  if (mounted) spawnSync('umount', [disk]);
});

describe.skipIf(!mounted)('a full disk (needs the right to mount a tmpfs)', () => {
  beforeEach(() => writeFileSync(filler, Buffer.alloc(48 << 10)));

  it('is refused before the run when the sizes are known', async () => {
    const { code, stderr } = await run(tinyRun('--d_in', '32', '--output_path', join(disk, 'sae')));
    expect(stderr).toMatch(
      /error STORAGE {2}Cannot write to ".*": the run needs .* and .* are free\n\nhint: free some space/,
    );
    expect([code, stderr.includes('loading')]).toEqual([7, false]);
  });

  it('costs the checkpoints it has no room for, not the run', async () => {
    const { code, stderr } = await run(tinyRun('--n_checkpoints', '1', '--checkpoint_path', disk, '--name', 'small'));
    expect(stderr).toMatch(/warning: Cannot write the SAE to .*; training goes on without this checkpoint/);
    expect(stderr).toContain('Done: 10 steps');
    expect(code).toBe(0);
    expect(readdirSync(join(disk, 'small'))).toEqual([]);
    rmSync(join(disk, 'small'), { recursive: true });
  });

  it('is waited for when the finished SAE does not fit: with room made, nothing is lost', async () => {
    const command = start(tinyRun('--output_path', join(disk, 'sae')));
    await command.saw('free space there: it is tried again for 10 minutes');
    rmSync(filler);
    const { code, stderr } = await command.ended;
    expect(stderr).toMatch(/^warning: Cannot write the SAE to .*No space left/m);
    expect(stderr).toContain('Done: 10 steps');
    expect(code).toBe(0);
    await verifyFolder(join(disk, 'sae'));
    rmSync(join(disk, 'sae'), { recursive: true });
  });

  it('is passed by where a rescue_dir is named: the finished SAE lies there, and that is said', async () => {
    const { code, stderr } = await run(
      tinyRun('--name', 'passed', '--output_path', join(disk, 'sae'), '--rescue-dir', 'rescue'),
    );
    const rescued = join(folder, 'rescue', 'passed', 'output');
    expect(stderr).toMatch(
      /^warning: Cannot write the SAE to .*No space left.*; it goes to .*rescue\/passed\/output$/m,
    );
    expect(stderr).toContain('Done: 10 steps');
    expect(code).toBe(0);
    await verifyFolder(rescued);
    expect(readdirSync(join(folder, 'rescue', 'passed'))).toEqual(['output']);
    expect(readdirSync(disk)).toEqual(['filler']);
  });

  it('is passed by at Ctrl-C too: the command that goes on names the last checkpoint, and goes on from it', async () => {
    // Few rows of metrics: their size is known before, and asked for.
    const flags = ['--checkpoint_path', disk, '--rescue_dir', 'rescue', '--wandb_log_frequency', '1000000'];
    const command = start(endlessRun('--name', 'moved', ...flags));
    await command.saw('training the SAE');
    await sleep(3_000);
    command.child.kill('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code, stderr).toBe(130);
    const [checkpoint] = readdirSync(join(folder, 'rescue', 'moved')) as [string];
    const rescued = join(folder, 'rescue', 'moved', checkpoint);
    await verifyFolder(rescued);
    expect(stderr).toContain(`sae-lens-ts resume runs/moved --from ${rescued}`);
    for (const words of [['--from', rescued], ['--from', checkpoint], []]) {
      const again = start(['resume', 'moved', ...words]);
      await again.saw(`Going on from ${join(folder, 'rescue', 'moved')}`);
      await again.saw('training the SAE');
      again.child.kill('SIGINT');
      expect((await again.ended).code).toBe(130);
    }
    rmSync(join(disk, 'moved'), { recursive: true, force: true });
  });

  it('ends the run when it is told to end, with what could not be saved, and leaves no part of it', async () => {
    const command = start(tinyRun('--output_path', join(disk, 'sae'), '--training_tokens', '6400'));
    await command.saw('free space there');
    command.child.kill('SIGINT');
    const { code, stderr } = await command.ended;
    expect(stderr).toMatch(/error STORAGE {2}Cannot write the SAE to .*No space left[\s\S]*hint: /);
    expect(code).toBe(7);
    expect(readdirSync(disk)).toEqual(['filler']);
  });
});
