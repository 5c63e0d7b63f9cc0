import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { Command, commandLineForTests } from '../command-line.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, run } = commandLineForTests();
/** util-linux's `script` gives a command a terminal. */
const hasScript = spawnSync('script', ['--version']).status === 0;
const CLI = `${process.execPath} ${resolve('bin/sae-lens-ts.js')}`;

/** Types into a command on a terminal: each line when its question is there. */
async function answer(words: string, answers: readonly (readonly [question: string, keys: string])[]) {
  const env = { ...process.env, TERM: 'xterm', NO_COLOR: '1' };
  const command = new Command('script', ['-qec', `stty cols 120 rows 40; ${CLI} ${words}`, '/dev/null'], {
    cwd: folder,
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  for (const [question, keys] of answers) {
    await command.saw(question);
    command.child.stdin?.write(keys);
  }
  return command.ended;
}

/** Takes what is offered away and writes something else. */
const instead = (text: string): string => `\u0015${text}\r`;

it.skipIf(!hasScript)('init asks four questions on a terminal, and what it writes trains', async () => {
  const { code, stdout } = await answer('init mine.yaml', [
    ['Which language model?', '\u001b[A\u001b[A\r'],
    ['Where in it?', instead('model.layers.0')],
    ['What kind of SAE?', '\r'],
    ['How many latents?', instead('64')],
    ['Trained on what text?', instead(`${tinyModel()}/text.jsonl`)],
    ['How many tokens of it?', instead('5_120')],
  ]);
  expect(code, stdout).toBe(0);
  expect(stdout).toContain('sae-lens-ts train mine.yaml --dry-run');
  const written = readFileSync(join(folder, 'mine.yaml'), 'utf8');
  expect(written).toMatch(/^model_name: bundled:smollm2-135m +# /m);
  expect(written).toMatch(/^ {2}d_sae: 64 +# /m);
  const planned = await run(['train', 'mine.yaml', '--dry-run']);
  expect(planned.code, planned.stderr).toBe(0);
  // The tests have no SmolLM2: a tiny model takes its place.
  const trained = await run(['train', 'mine.yaml', '--model_name', `${tinyModel()}/model`, '--name', 'first']);
  expect(trained.code, trained.stderr).toBe(0);
  expect(existsSync(join(folder, 'runs/first/output/manifest.json'))).toBe(true);
});

it.skipIf(!hasScript)('init asks before it replaces a file, and leaves it when nobody says yes', async () => {
  await run(['init', 'kept.yaml', '--template', 'demo', '-y']);
  const before = readFileSync(join(folder, 'kept.yaml'), 'utf8');
  const { code } = await answer('init kept.yaml', [['Replace kept.yaml?', '\u0003']]);
  expect(code).toBe(130);
  expect(readFileSync(join(folder, 'kept.yaml'), 'utf8')).toBe(before);
});

it('what a run is, ls and show tell; rm removes it when somebody says so', async () => {
  const trained = await run([...tinyRun('--name', 'second')]);
  expect(trained.code, trained.stderr).toBe(0);
  expect(trained.stderr + trained.stdout).toContain('sae-lens-ts eval runs/second\n');
  const listed = await run(['ls']);
  expect(listed.stdout).toMatch(/^second +\d{4}-\S+ \d\d:\d\d +\S+ · model\.layers\.0 +topk 32 → 64 +10\/10 +done /m);
  const [entry] = JSON.parse((await run(['ls', '--json'])).stdout);
  expect(entry).toMatchObject({ name: 'second', state: 'done', d_in: 32, d_sae: 64, l0: 4 });
  const shown = await run(['show', 'second']);
  expect(shown.stdout).toMatch(/ {2}explained variance +-?[\d.]+/);
  expect(shown.stdout).toContain('Next:\n  sae-lens-ts eval runs/second\n');
  const view = JSON.parse((await run(['show', 'second', '--json'])).stdout);
  expect(view).toMatchObject({ name: 'second', lastWords: null, facts: { state: 'done' } });
  const unsaid = await run(['rm', 'second']);
  expect([unsaid.code, unsaid.stderr]).toEqual([2, expect.stringContaining('hint: say so beforehand: -y')]);
  const pruned = await run(['prune', 'second', '--dry-run']);
  expect([pruned.code, pruned.stdout]).toEqual([0, 'nothing to remove\n']);
  expect((await run(['prune', 'second', '--keep', '1'])).stderr).toContain('at least 2 stay');
  const removed = await run(['rm', 'second', '-y']);
  expect(removed.stdout).toMatch(/^removed 1 run, [\d.]+ kB$/m);
  expect(existsSync(join(folder, 'runs/second'))).toBe(false);
});

it('a run that failed shows its last words, and how to go on', async () => {
  const failed = await run(
    tinyRun('--name', 'burnt', '--lr', '1e6', '--n_checkpoints', '1', '--training_tokens', '12800'),
  );
  expect(failed.code).toBe(5);
  expect(failed.stderr).toContain('more: `sae-lens-ts explain NOT_FINITE`');
  const { stdout } = await run(['show', 'burnt']);
  expect(stdout).toMatch(/^ {2}state +failed /m);
  expect(stdout).toContain('failed with NOT_FINITE');
  expect(stdout).toContain('sae-lens-ts explain NOT_FINITE\n');
  expect(stdout).toContain('sae-lens-ts resume runs/burnt\n');
});
