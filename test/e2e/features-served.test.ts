import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserForTests, hasBrowser } from '../browser.ts';
import { type Command, commandLineForTests } from '../command-line.ts';
import { isAlive } from '../orphans.ts';
import { tinyRun } from '../tiny-run.ts';

const cli = commandLineForTests();
const { open, screenshot, seriousBarriers } = browserForTests(cli.marker);
const SLOW = { timeout: 60_000 };
const SERVE = ['features', 'runs/seen', '--serve', '--port', '0'];
const about = join(cli.folder, 'runs/seen/features/data/about.js');
let server: Command;
let url = '';

beforeAll(async () => {
  await cli.run(tinyRun('--name', 'seen'));
  server = cli.start([...SERVE, '--n_tokens', '2000', '--batch_size_prompts', '8']);
  await server.saw('token=');
  url = /http:\S+/.exec(server.stdout)?.[0] as string;
});
afterAll(async () => {
  server.child.kill('SIGINT');
  expect((await server.ended).code).toBe(0);
});

test('features are collected once: served again they are as they are, and what asks for others is refused', async () => {
  expect(server.stdout).toContain('64 latents');
  const { mtimeMs } = statSync(about);
  const again = cli.start(SERVE);
  await again.saw('token=');
  again.child.kill('SIGINT');
  expect(await again.ended).toMatchObject({ code: 0, stdout: expect.not.stringContaining('64 latents') });
  expect(statSync(about).mtimeMs).toBe(mtimeMs);
  const other = await cli.run([...SERVE, '--n_tokens', '4000', '--export', 'neuronpedia']);
  expect(other.code).toBe(2);
  expect(other.stderr).toContain('--n_tokens, --export was given');
  const unserved = await cli.run(['features', 'runs/seen', '--port', '0']);
  expect(unserved).toMatchObject({ code: 2, stderr: expect.stringContaining('--port has no effect without --serve') });
});

test('without the secret there are no features, and no prompt is read', async () => {
  const { origin } = new URL(url);
  expect((await fetch(`${origin}/data/latents.js`)).status).toBe(401);
  const prompt = { method: 'POST', body: JSON.stringify({ text: 'a', latent: null }) };
  expect((await fetch(`${origin}/api/activations`, prompt)).status).toBe(401);
});

test('a prompt right after its worker was killed is read by a new one', async () => {
  const served = cli.start(SERVE);
  await served.saw('token=');
  const address = /http:\S+/.exec(served.stdout)?.[0] as string;
  const page = await fetch(address);
  const headers = {
    cookie: String(page.headers.get('set-cookie')).split(';')[0] as string,
    'x-sae-lens-ts-request': /request-token" content="([^"]+)"/.exec(await page.text())?.[1] as string,
  };
  const prompt = { method: 'POST', headers, body: JSON.stringify({ text: 'two bells', latent: null }) };
  const ask = () => fetch(`${new URL(address).origin}/api/activations`, prompt).then((answer) => answer.json());
  expect(await ask()).toMatchObject({ n_left_out: 0 });
  const worker = cli.workerOf(served);
  process.kill(worker, 'SIGKILL');
  expect(await ask()).toMatchObject({ n_left_out: 0 });
  expect(cli.workerOf(served)).not.toBe(worker);
  served.child.kill('SIGINT');
  expect((await served.ended).code).toBe(0);
});

test('a report of the run has features of it: examples, logits, how they were chosen, and no script', async () => {
  const { stdout } = await cli.run(['report', 'runs/seen', '--json']);
  const page = readFileSync(JSON.parse(stdout).path, 'utf8');
  expect(page).toMatch(/20 of the \d+ latents that are active, at even steps of their order by density/);
  expect(page.match(/<h3>Latent \d+/g)).toHaveLength(20);
  expect(page).toMatch(/<span class="token active" style="--share:1\.000" title="[\d.e-]+">/);
  expect(page).toContain('<small>raises</small>');
  expect(page).not.toMatch(/<script|https?:(?!\/\/www\.w3\.org)/);
});

describe.skipIf(!hasBrowser)('in Chromium', () => {
  test('a prompt shows which latents are active on which token, and a latent that is opened colours it', async () => {
    const page = await open(url, 1400);
    await expect.poll(() => page.url()).not.toContain('token');
    await expect.poll(() => page.locator('#prompt').isVisible()).toBe(true);
    await page.keyboard.press('p');
    await page.keyboard.type('the lantern of the harbour');
    await page.keyboard.press('Control+Enter');
    const tokens = page.locator('.prompt .token');
    await expect.poll(() => tokens.count(), SLOW).toBeGreaterThan(4);
    expect((await tokens.allTextContents()).join('')).toContain('arbour');
    // TopK with k 4: on each token four latents.
    await tokens.nth(1).click();
    const listed = page.locator('#prompt li .number');
    await expect.poll(() => listed.count()).toBe(4);
    expect(await page.locator('#prompt h3').textContent()).toContain('4 latents are active');
    const value = await page.locator('#prompt li .value').first().textContent();
    const latent = await listed.first().textContent();
    await listed.first().click();
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe(`Latent ${latent}`);
    await expect.poll(() => page.locator('.prompt .token.active').count(), SLOW).toBeGreaterThan(0);
    await tokens.nth(1).hover();
    expect(await page.locator('#tip').textContent()).toContain(`activation ${value} `);
    await page.mouse.move(0, 0);
    await screenshot(page, 'features-prompt-1400');
    expect(await seriousBarriers(page)).toEqual([]);
    await page.close();
  });

  test('a latent that is opened while the prompt is read colours it too', async () => {
    const page = await open(url, 1400);
    await expect.poll(() => page.locator('#prompt').isVisible()).toBe(true);
    await page.locator('#prompt textarea').fill('the lantern of the harbour');
    const openedMeanwhile = async (route: Route): Promise<void> => {
      await page.evaluate("location.hash = 'latent=3'");
      await route.continue();
    };
    await page.route('**/api/activations*', openedMeanwhile, { times: 1 });
    await page.getByRole('button', { name: 'show latents' }).click();
    await expect.poll(() => page.locator('#prompt [role=status]').textContent(), SLOW).toMatch(/^\d+ tokens/);
    await expect.poll(() => page.locator('.prompt .token').count()).toBeGreaterThan(4);
    await page.close();
  });

  test('on a narrow screen, in the dark; when its worker was killed, the next prompt has a new one', async () => {
    const page = await open(url, 400);
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    const prompt = page.locator('#prompt textarea');
    const send = page.getByRole('button', { name: 'show latents' });
    const said = page.locator('#prompt [role=status]');
    await prompt.fill('a bell');
    await send.click();
    await expect.poll(() => said.textContent(), SLOW).toMatch(/^\d tokens/);
    const worker = cli.workerOf(server);
    process.kill(worker, 'SIGKILL');
    await expect.poll(() => isAlive(worker)).toBe(false);
    await prompt.fill('two bells rang in the dark harbour');
    await send.click();
    await expect.poll(() => said.textContent(), SLOW).toMatch(/^\d\d tokens/);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400);
    await screenshot(page, 'features-prompt-400');
    expect(await seriousBarriers(page)).toEqual([]);
    await page.close();
  });
});
