import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const { folder, run, start } = commandLineForTests();
const FEW = ['--n_tokens', '500', '--batch_size_prompts', '8'];
const SAES = {
  wide: { d_sae: 96, k: 6 },
  jump: { architecture: 'jumprelu', l0_coefficient: 0.01, jumprelu_init_threshold: 0.001 },
};
const below = join(folder, 'runs/both/features');

beforeAll(async () => {
  const config = join(folder, 'saes.yaml');
  writeFileSync(config, JSON.stringify({ saes: SAES }));
  const { code, stderr } = await run([...tinyRun('--config', config, '--name', 'both')]);
  expect(code, stderr).toBe(0);
});

test('of a run of several SAEs each has a folder, with the files that it has alone', async () => {
  const both = await run(['features', 'runs/both', ...FEW, '--json']);
  expect(both.code, both.stderr).toBe(0);
  expect(readdirSync(below).sort()).toEqual(['both_jump', 'both_wide']);
  const alone = await run(['features', 'runs/both/output/wide', ...FEW, '--output', 'alone']);
  expect(alone.code, alone.stderr).toBe(0);
  for (const file of ['latents.js', 'chunk-00000.js', 'chunk-00001.js']) {
    expect(readFileSync(join(below, 'both_wide/data', file))).toEqual(readFileSync(join(folder, 'alone/data', file)));
  }
  const one = await run(['features', 'runs/both', ...FEW, '--sae', 'jump', '--json', '--latents', '0-9']);
  const [{ about, ...made }, ...more] = JSON.parse(one.stdout).features;
  expect([made.folder, about.n_latents, more]).toEqual(['runs/both/features/both_jump', 10, []]);
});

test('a page is served of one of them, which is chosen by name', async () => {
  const serve = ['features', 'runs/both', '--serve', '--port', '0'];
  const all = await run(serve);
  expect(all).toMatchObject({ code: 2, stderr: expect.stringContaining('choose one: --sae jump, --sae wide') });
  const none = await run([...serve, '--sae', 'narrow']);
  expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('has no SAE "narrow"') });
  const server = start([...serve, '--sae', 'wide']);
  await server.saw('token=');
  const address = /http:\S+/.exec(server.stdout)?.[0] as string;
  const cookie = String((await fetch(address)).headers.get('set-cookie')).split(';')[0] as string;
  const about = await fetch(`${new URL(address).origin}/data/about.js`, { headers: { cookie } });
  expect(await about.text()).toContain('"d_sae":96');
  server.child.kill('SIGINT');
  expect((await server.ended).code).toBe(0);
});
