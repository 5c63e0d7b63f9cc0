import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { commandLineForTests, type Ended, events } from '../command-line.ts';
import { orphans } from '../orphans.ts';
import { endlessRun, tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, marker, run, shell, start } = commandLineForTests();
const FILES = ['cfg.json', 'manifest.json', 'runner_cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'];
/** util-linux's `script` gives a command a terminal. */
const hasScript = spawnSync('script', ['--version']).status === 0;
const ERASE_LINE = '\u001b[2K';
const SECRETS = { HF_TOKEN: 'hf_planted0123456789abcdef', WANDB_API_KEY: 'planted0123456789abcdef0123456789abcdef01' };

describe('a run with --json, checkpoints and every place set', () => {
  let ended: Ended;
  const runFolder = join(folder, 'runs', 'a-run');
  let commandLines = '';

  beforeAll(async () => {
    const command = start(
      tinyRun(
        ...['--json', '--name', 'a-run', '--training_tokens', '6400', '--n_checkpoints', '2'],
        ...['--save_final_checkpoint', 'true', '--checkpoint_path', 'saved', '--output_path', 'finished/sae'],
        ...['--eval_every_n_wandb_logs', '2', '--feature_sampling_window', '20'],
      ),
      { env: SECRETS },
    );
    await command.saw('"event":"started"');
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      commandLines += existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
    }
    ended = await command.ended;
  });

  it('writes lines of JSON on stdout and nothing else, words on stderr', () => {
    expect(ended.code).toBe(0);
    const kinds = events(ended.stdout).map(({ event }) => event);
    expect(kinds[0]).toBe('header');
    expect(kinds.at(-1)).toBe('finished');
    expect(new Set(kinds)).toEqual(
      new Set(['header', 'stage', 'log', 'started', 'metrics', 'histogram', 'checkpoint', 'finished']),
    );
    expect(ended.stderr).toContain('Done: 50 steps in ');
    expect(ended.stderr).not.toContain('\u001b');
    expect(ended.stderr.match(/^evaluating the finished SAE$/gm)).toHaveLength(1);
  });

  it('puts checkpoints and output where they were wanted, complete and under SAELens’ names', async () => {
    const checkpoints = readdirSync(join(folder, 'saved', 'a-run')).sort();
    expect(checkpoints).toEqual(['2176', '4352', 'final_6400']);
    const resumable = [...FILES, 'training_state.json', 'training_state.safetensors'];
    for (const [path, files] of [
      ['saved/a-run/2176', resumable],
      ['saved/a-run/4352', resumable],
      ['saved/a-run/final_6400', FILES],
      ['finished/sae', FILES],
    ] as const) {
      expect(readdirSync(join(folder, path)).sort()).toEqual(files);
      await verifyFolder(join(folder, path));
    }
    expect(readdirSync(runFolder).sort()).toEqual([
      'config.yaml',
      'histograms.jsonl',
      'log.jsonl',
      'metrics.jsonl',
      'run.json',
    ]);
  });

  it('keeps every metric under SAELens’ names, evaluations and sparsity included', () => {
    const rows = readFileSync(join(runFolder, 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(new Set(rows.flatMap((row) => Object.keys(row)))).toEqual(new Set(METRICS));
    expect(rows.filter((row) => 'losses/mse_loss' in row).map(({ step }) => step)).toEqual([9, 19, 29, 39, 49]);
    expect(rows.every((row) => Object.values(row).every(Number.isFinite))).toBe(true);
  });

  it('can be had again: config.yaml reads back to the same configuration', async () => {
    const printed = await run(['config', 'print', 'runs/a-run/config.yaml', '--json']);
    expect(printed.stderr).toBe('');
    const runnerCfg = JSON.parse(readFileSync(join(folder, 'finished/sae/runner_cfg.json'), 'utf8'));
    expect(JSON.parse(printed.stdout).config).toEqual(runnerCfg);
  });

  it('holds secrets of the environment in no output, file or command line', async () => {
    for (const secret of Object.values(SECRETS)) {
      expect(ended.stdout + ended.stderr + commandLines).not.toContain(secret);
      expect(await shell(`grep -rl ${secret} .`)).toMatchObject({ code: 1, stdout: '' });
    }
  });

  it('a second run of the name of one that has finished is refused before anything of it is touched', async () => {
    const before = readFileSync(join(folder, 'finished/sae/manifest.json'), 'utf8');
    const rows = readFileSync(join(runFolder, 'metrics.jsonl'), 'utf8');
    const again = await run(tinyRun('--name', 'a-run', '--output_path', 'elsewhere'));
    expect(again.code).toBe(2);
    expect(again.stderr).toMatch(/USAGE.*a-run has finished: its SAE at \S*finished\/sae would be replaced/);
    expect(again.stderr).toContain('another --name, or remove it first: sae-lens-ts rm a-run');
    expect(readFileSync(join(folder, 'finished/sae/manifest.json'), 'utf8')).toBe(before);
    expect(readFileSync(join(runFolder, 'metrics.jsonl'), 'utf8')).toBe(rows);
  });

  it('a run of the name of one that did not finish keeps the metrics of that one apart', async () => {
    // As a run leaves it whose worker was killed: rows, and no SAE.
    rmSync(join(folder, 'finished/sae'), { recursive: true });
    const again = await run(tinyRun('--name', 'a-run', '--output_path', 'finished/sae'));
    expect(again.code).toBe(0);
    const [, kept = ''] = /a-run was run before; its metrics\.jsonl is kept as (\S+)/.exec(again.stderr) ?? [];
    const rows = (path: string): number => readFileSync(path, 'utf8').trimEnd().split('\n').length;
    expect(rows(kept)).toBeGreaterThan(rows(join(runFolder, 'metrics.jsonl')));
    expect((await verifyFolder(join(folder, 'finished/sae'))).n_training_samples).toBe(1280);
  });
});

describe('what a run prints', () => {
  it('--quiet: nothing', async () => {
    expect(await run(tinyRun('--quiet'))).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  it('a reader that goes away (head) does not end the run', async () => {
    const words = tinyRun('--json', '--name', 'piped')
      .map((word) => `'${word}'`)
      .join(' ');
    const { stdout, stderr } = await shell(`$CLI ${words} | head -n 1; echo "\${PIPESTATUS[0]}"`);
    const [first, code] = stdout.trimEnd().split('\n');
    expect(JSON.parse(first as string).event).toBe('header');
    expect([code, stderr.includes('Done: 10 steps')]).toEqual(['0', true]);
    await verifyFolder(join(folder, 'runs/piped/output'));
  });

  it.skipIf(!hasScript)('on a terminal: a live line in place; TERM=dumb and NO_COLOR are obeyed', async () => {
    const words = tinyRun('--training_tokens', '6400')
      .map((word) => `'${word}'`)
      .join(' ');
    const onTerminal = (env: Record<string, string>) =>
      shell(`script -qec "stty cols 100 rows 30; $CLI ${words}" /dev/null`, env);
    const live = await onTerminal({ TERM: 'xterm', NO_COLOR: '' });
    expect(live.stdout).toContain('\u001b[1mrun       \u001b[22m');
    expect(live.stdout).toMatch(/step \d+\/50 · loss [\d.]+ /);
    expect(live.stdout).toContain(ERASE_LINE);
    const dumb = await onTerminal({ TERM: 'dumb' });
    expect(dumb.stdout).not.toContain('\u001b');
    expect(dumb.stdout).toContain('step 10/50 · loss ');
  });

  it.skipIf(!hasScript)('a terminal that is closed ends the run in order (SIGHUP)', async () => {
    const words = endlessRun('--name', 'hung-up')
      .map((word) => `'${word}'`)
      .join(' ');
    const wait = `until [ -s runs/hung-up/metrics.jsonl ]; do sleep 0.1; done; kill -KILL %1`;
    await shell(`set -m; script -qec "$CLI ${words}" /dev/null >/dev/null & ${wait}`);
    expect(await orphans(marker, 8_000)).toEqual([]);
    const [saved] = readdirSync(join(folder, 'runs/hung-up/checkpoints'));
    await verifyFolder(join(folder, 'runs/hung-up/checkpoints', saved as string));
  });
});

describe('the other commands', () => {
  it('a reader that goes away is no failure', async () => {
    const { stdout, stderr } = await shell(`$CLI config schema | true; echo "\${PIPESTATUS[0]}"`);
    expect([stdout, stderr]).toEqual(['0\n', '']);
  });

  it('hooks lists the hook points of a model, as words and as JSON', async () => {
    const model = `${tinyModel()}/model`;
    const { code, stdout } = await run(['hooks', model, '--model_class_name', 'AutoModelForCausalLM', '--json']);
    expect(JSON.parse(stdout)).toContainEqual({ name: 'model.layers.1', shape: [2, 7, 32], d_in: 32 });
    expect(code).toBe(0);
    const bridge = await run(['hooks', model, 'resid_post']);
    expect(bridge.stdout).toMatch(
      /^hook point +shape +d_in\nblocks\.\{0…1\}\.hook_resid_post +\[batch, pos, 32\] +32\n$/,
    );
    const none = await run(['hooks', model, 'residual']);
    expect([none.code, none.stderr]).toEqual([4, expect.stringContaining('has "residual" in its name')]);
  });

  it('--dry-run prints the plan without any Python', async () => {
    const { code, stdout } = await run(tinyRun('--dry-run'), {
      env: { SAE_LENS_TS_PYTHON: '/no/such/python', PATH: '' },
    });
    expect(stdout).toMatch(/^ steps +10 /m);
    expect(stdout).toContain('Nothing was started');
    expect(code).toBe(0);
  });

  it('setup does nothing, and says nothing when quiet, where everything is ready', async () => {
    const { code, stdout, stderr, seconds } = await run(['setup', '--quiet']);
    expect([code, stdout, stderr]).toEqual([0, '', '']);
    expect(seconds).toBeLessThan(5);
  });

  it('doctor --json finds nothing to fix here', async () => {
    const { code, stdout } = await run(['doctor', '--json'], { env: SECRETS });
    const { ok, findings } = JSON.parse(stdout);
    expect(findings.filter(({ state }: { state: string }) => state === 'fail')).toEqual([]);
    expect([code, ok]).toEqual([0, true]);
    for (const secret of Object.values(SECRETS)) expect(stdout).not.toContain(secret);
  });
});

const METRICS = [
  'step',
  'losses/overall_loss',
  'losses/mse_loss',
  'losses/auxiliary_reconstruction_loss',
  'metrics/explained_variance',
  'metrics/explained_variance_legacy',
  'metrics/explained_variance_legacy_std',
  'metrics/l0',
  'sparsity/mean_passes_since_fired',
  'sparsity/dead_features',
  'sparsity/below_1e-5',
  'sparsity/below_1e-6',
  'metrics/mean_log10_feature_sparsity',
  'details/current_learning_rate',
  'details/n_training_samples',
  'model_behavior_preservation/kl_div_score',
  'model_behavior_preservation/kl_div_with_ablation',
  'model_behavior_preservation/kl_div_with_sae',
  'model_performance_preservation/ce_loss_score',
  'model_performance_preservation/ce_loss_with_ablation',
  'model_performance_preservation/ce_loss_with_sae',
  'model_performance_preservation/ce_loss_without_sae',
  'reconstruction_quality/explained_variance',
  'reconstruction_quality/explained_variance_legacy',
  'reconstruction_quality/mse',
  'reconstruction_quality/cossim',
  'shrinkage/l2_norm_in',
  'shrinkage/l2_norm_out',
  'shrinkage/l2_ratio',
  'shrinkage/relative_reconstruction_bias',
  'sparsity/l0',
  'sparsity/l1',
  'token_stats/total_tokens_eval_reconstruction',
  'token_stats/total_tokens_eval_sparsity_variance',
  'system/rss_bytes',
  'system/tokens_per_s',
  'system/lm_share',
  'system/data_share',
  'system/sae_share',
];
