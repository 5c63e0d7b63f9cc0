import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERROR_TEXTS } from '../../../src/error-texts.ts';
import { ERROR_CODES } from '../../../src/errors.ts';

const root = process.cwd();
const dist = join(root, 'node_modules/.cache/cli-test/dist');
const folder = mkdtempSync(join(tmpdir(), 'cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

// The real thing: bundled as in a release, run as a process. The bundle lies two folders below a package.json.
beforeAll(() => {
  const tsdown = join(root, 'node_modules/.bin/tsdown');
  const options = ['--no-config', '--no-dts', '--log-level', 'error', '--platform', 'node'];
  execFileSync(tsdown, [...options, '--out-dir', join(dist, 'cli'), 'src/cli/main.ts'], { stdio: 'ignore' });
  writeFileSync(join(dist, '../package.json'), '{"version": "1.2.3", "type": "module"}');
}, 120_000);

function run(...words: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(dist, 'cli/main.mjs'), ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, NO_COLOR: '1' },
  });
  return { status, stdout, stderr };
}

test('--help lists the commands, train --help every option by group with default and unit', () => {
  expect(run('--help').stdout).toContain('train a sparse autoencoder');
  expect(run('--version').stdout).toBe('1.2.3\n');
  const { stdout, status } = run('train', '--help');
  expect(status).toBe(0);
  expect(stdout).toContain('\nLanguage model:\n');
  expect(stdout).toMatch(
    /--train_batch_size_tokens <integer> +Activations in one training step. \[tokens; default: 4096\]/,
  );
  expect(stdout).toMatch(/--k <number> .*\(topk, batchtopk, matryoshka_batchtopk\) \[latents; default: 100\]/);
});

test('the README names every command', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const commands = [...run('--help').stdout.matchAll(/^ {2}([a-z-]+) .*$/gm)].map(([, name = '']) => name);
  expect(commands).toContain('cache-activations');
  expect(commands.filter((name) => name !== 'help' && !new RegExp(`^\\|.*\`${name}[ \`]`, 'm').test(readme))).toEqual(
    [],
  );
});

test.each<[string[], string]>([
  [['trian'], "error USAGE  Unknown command 'trian'\n\nhint: Did you mean train?"],
  [['config', 'prnt'], 'Did you mean print?'],
  [['train', '--contxt_size', '1'], 'did you mean --context_size?'],
  [['train', '--train-batch-size-tokns', '1'], 'did you mean --train_batch_size_tokens?'],
  [['train', '--preset', 'dmo'], 'did you mean demo?'],
  [['init', '--template', 'gpt2-tpk', '-y'], 'did you mean gpt2-topk?'],
  [['init'], 'name what to begin with: --template demo | '],
  [['train', '--preset', 'demo', '--architecture', 'gatd'], 'did you mean gated?'],
  [['explain', 'l1_coeficient'], 'did you mean l1_coefficient?'],
  [['explain', 'l1'], 'did you mean l1_coefficient?'],
  [['train', '--model', 'gpt2'], 'did you mean --model_name?'],
  [['train', '--hook_point'], "'--hook_name <text>' argument missing\n\nhint: see `sae-lens-ts train --help`"],
  [['cache', 'info'], "Missing required argument 'path'\n\nhint: see `sae-lens-ts cache info --help`"],
  [['explain', 'HOOK_NOT_FUOND'], 'did you mean HOOK_NOT_FOUND?'],
])('%j ends with code 2 and a suggestion', (words, suggestion) => {
  const { status, stderr, stdout } = run(...words);
  expect(stderr).toContain(suggestion);
  expect([status, stdout]).toEqual([2, '']);
});

test.each<[string[], string]>([
  [['--dry-run=false'], 'error USAGE  --dry-run takes no value\n\nhint: write --dry-run alone, or leave it out'],
  [
    ['--streaming', 'maybe'],
    'in the command line\n\n  --streaming  streaming  "maybe" is text; expected true or false',
  ],
  [['--lr='], 'in the command line\n\n  --lr  lr  is empty; expected a number'],
])('the message on %j names the flag, not the preset below it', (words, message) => {
  const { status, stderr } = run('train', '--preset', 'demo', ...words);
  expect(stderr).toContain(message);
  expect(status).toBe(2);
});

test('all problems of file and flags are printed at once, before anything starts', () => {
  writeFileSync(join(folder, 'bad.yaml'), 'dataset_path: text\nsae:\n  d_sae: 64\n  architecture: topk\n');
  const { status, stderr } = run('train', 'bad.yaml', '--lr', 'fast');
  expect(status).toBe(2);
  expect(stderr).toContain('error CONFIG_INVALID  2 problems in bad.yaml');
  expect(stderr).toMatch(/ {2}--lr +lr +"fast" is text; expected a number/);
  expect(stderr).toMatch(/ {2}bad\.yaml:3:3 +sae\.k +100 is more than d_sae = 64/);
});

test('--json makes the error one JSON object on stdout', () => {
  const { status, stdout, stderr } = run('train', '--json', '--k', '3');
  const { error } = JSON.parse(stdout);
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', exit_code: 2 });
  expect(error.details.problems.map(({ path }: { path: string }) => path)).toEqual(['sae.k', 'dataset_path']);
  expect([status, stderr]).toEqual([2, '']);
});

test('--dry-run prints the plan and starts nothing', () => {
  const { status, stdout } = run('train', '--preset', 'tiny-stories-1L-21M', '--dry-run');
  expect(status).toBe(0);
  expect(stdout).toContain('standard · 1 024 → 16 384 latents');
  expect(stdout).toContain('30 000   sparsity warm-up 1 500 · decay from 24 000 · checkpoints 0 · evaluations 50');
  expect(stdout).toContain('Nothing was started');
  const { plan, config } = JSON.parse(run('train', '--preset', 'demo', '--dry-run', '--json').stdout);
  expect(plan.totalSteps).toBeGreaterThan(0);
  expect(config.sae.architecture).toBe('topk');
});

test('--dry-run names the device, W&B and the name and folder the run would have', () => {
  const flags = [
    '--preset',
    'demo',
    '--dry-run',
    '--runs_folder',
    'there',
    '--device',
    'cuda:1',
    '--llm_device',
    'cpu',
  ];
  const { stdout } = run(
    'train',
    ...flags,
    '--log_to_wandb',
    'true',
    '--wandb_project',
    'mine',
    '--wandb_entity',
    'us',
  );
  const [, name = ''] = /^ name +(\S+)$/m.exec(stdout) ?? [];
  expect(stdout).toMatch(/^ device +cuda:1 · language model on cpu · float32$/m);
  expect(stdout).toMatch(/^ W&B +us\/mine · topk-\S+ · offline/m);
  expect(stdout).toMatch(new RegExp(`^ folder +/.*/there/${name}$`, 'm'));
  expect(run('train', ...flags, '--log_to_wandb', 'false').stdout).toMatch(/^ W&B +off$/m);
  mkdirSync(join(folder, 'there', name), { recursive: true });
  expect(
    run('train', ...flags, '--log_to_wandb', 'true', '--wandb_project', 'mine', '--wandb_entity', 'us').stdout,
  ).toMatch(new RegExp(`^ name +${name}-2$`, 'm'));
  expect(run('train', ...flags, '--name', 'a/b')).toMatchObject({ status: 2, stderr: expect.stringContaining('a/b') });
});

test('a folder of runs that is named and not there is said; the usual one may be missing', () => {
  for (const command of ['ls', 'dashboard']) {
    const { status, stderr } = run(command, 'nosuch');
    expect([status, stderr.split('\n')[0]]).toEqual([2, 'error USAGE  There is no folder nosuch']);
  }
  expect(run('ls')).toMatchObject({ status: 0, stdout: 'No runs in runs\n' });
});

test('config print tells the layer of each value and can be given back to train', () => {
  const { stdout } = run(
    'config',
    'print',
    '--preset',
    'demo',
    '--seqpos_slice',
    '5',
    '-5',
    '--no-streaming',
    '--sae.k',
    '7',
  );
  expect(stdout).toMatch(/ {2}k: 7 +# flags --k\n/);
  expect(stdout).toMatch(/seqpos_slice: \[5,-5\] +# flags --seqpos_slice\n/);
  expect(stdout).toMatch(/model_name: "bundled:smollm2-135m" +# preset demo\n/);
  expect(stdout).toMatch(/seed: 42 +# default\n/);
  writeFileSync(join(folder, 'printed.yaml'), stdout);
  const again = JSON.parse(run('config', 'print', 'printed.yaml', '--json').stdout);
  const first = JSON.parse(
    run('config', 'print', '--preset', 'demo', '--seqpos_slice', '5', '-5', '--no-streaming', '--sae.k', '7', '--json')
      .stdout,
  );
  expect(again.config).toEqual(first.config);
});

test('config schema is JSON Schema', () => {
  expect(JSON.parse(run('config', 'schema').stdout).properties).toHaveProperty('train_batch_size_tokens');
});

test('commands to paste are as the program was called: by npx or npm start, or by its name', () => {
  const hint = (called: NodeJS.ProcessEnv) =>
    spawnSync(process.execPath, [join(dist, 'cli/main.mjs'), 'train', '--resume'], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, NO_COLOR: '1', ...called },
    }).stderr.match(/about an option with `(.*) explain/)?.[1];
  expect(hint({ npm_lifecycle_event: 'npx', npm_lifecycle_script: 'sae-lens-ts train --resume' })).toBe(
    'npx sae-lens-ts',
  );
  expect(hint({ npm_lifecycle_event: 'start', npm_package_name: 'sae-lens-ts' })).toBe('npx sae-lens-ts');
  expect(hint({ npm_lifecycle_event: 'npx', npm_lifecycle_script: 'vitest run' })).toBe('sae-lens-ts');
  expect(hint({})).toBe('sae-lens-ts');
});

test('the name of a run where a path is wanted is answered with its path', () => {
  mkdirSync(join(folder, 'runs', 'calm-owl'), { recursive: true });
  const { status, stderr } = run('train', '--from', 'calm-owl');
  expect(stderr).toContain('hint: did you mean runs/calm-owl?');
  expect(status).toBe(2);
});

test('explain says what an option does', () => {
  expect(run('explain', 'train-batch-size-tokens').stdout).toContain('Activations in one training step.');
  expect(run('explain', 'hook_point').stdout).toMatch(/^hook_name$/m);
  expect(run('explain', 'new_cached_activations_path').stdout).toMatch(/^ {2}command +cache-activations$/m);
  expect(run('explain', 'context_size').stdout).toMatch(
    /^ {2}command +train, cache-activations, pretokenize, eval, features$/m,
  );
  expect(JSON.parse(run('explain', 'k', '--json').stdout)).toMatchObject({ path: 'sae.k', default: '100' });
});

test('an error ends with the command that explains its code, offline, where that adds something', () => {
  writeFileSync(join(folder, 'releases.json'), '[]');
  const { stderr } = run('pretrained', '--registry', 'releases.json');
  const [, words = ''] = /\nmore: `sae-lens-ts (explain REGISTRY_INVALID)`\n$/.exec(stderr) ?? [];
  expect(run(...words.split(' ')).stdout).toMatch(
    /^REGISTRY_INVALID\n {2}meaning +The file .*\n {2}what to do +docs\//,
  );
  expect(JSON.parse(run('explain', 'hook-not-found', '--json').stdout)).toEqual({
    code: 'HOOK_NOT_FOUND',
    exit_code: ERROR_CODES.HOOK_NOT_FOUND,
    ...ERROR_TEXTS.HOOK_NOT_FOUND,
  });
  expect(run('trian').stderr).not.toContain('more:');
});

test('words of others cannot tell the terminal what to do', () => {
  const evil = '\u001b]0;owned\u0007\u001b[2J\u009b31mred';
  const release = { repo_id: `me/${evil}`, model: evil, saes: [{ id: `${evil}-id`, path: evil }] };
  writeFileSync(join(folder, 'evil.json'), JSON.stringify({ [`evil${evil}`]: release }));
  const texts = [
    run('pretrained', 'evil', '--registry', 'evil.json'),
    run('pretrained', 'evil', '--registry', 'evil.json', '--json'),
    run('pretrained', evil),
    run('download', `evil${evil}`, 'x', '--registry', 'evil.json'),
    run('download', `evil${evil}`, 'x', '--registry', 'evil.json', '--json'),
  ].map(({ stdout, stderr }) => stdout + stderr);
  for (const text of texts) {
    expect(text).toContain('red');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
  }
  expect(JSON.parse(texts[1] as string)[0].model).toBe(evil);
});
