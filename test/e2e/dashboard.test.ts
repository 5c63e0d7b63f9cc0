import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { browserForTests, hasBrowser } from '../browser.ts';
import { type Command, commandLineForTests } from '../command-line.ts';
import { endlessRun, tinyRun } from '../tiny-run.ts';

const cli = commandLineForTests();
const { open, screenshot, seriousBarriers } = browserForTests(cli.marker);
const SLOW = { timeout: 30_000 };

async function dashboard(): Promise<{ process: Command; url: string }> {
  const process = cli.start(['dashboard', 'runs', '--port', '0']);
  await process.saw('token=');
  return { process, url: /http:\S+/.exec(process.stdout)?.[0] as string };
}

/** The points of the loss curve that a page has drawn, by what its legend says last. */
const lossOf = (page: Page): Promise<string | null> =>
  page.locator('[data-key="losses/overall_loss"] .last').first().textContent();

describe.skipIf(!hasBrowser)('in Chromium', () => {
  test('the page shows a run as it trains, compares it with another, asks for a checkpoint and stops it', async () => {
    await cli.run(tinyRun('--name', 'earlier', '--lr', '1e-3'));
    const live = cli.start(endlessRun('--name', 'live', '--wandb_log_frequency', '20'));
    await live.saw('step ');
    const { process, url } = await dashboard();
    const page = await open(url, 1400);
    await expect.poll(() => page.url()).not.toContain('token');

    const run = page.locator('#runs li', { hasText: 'live' });
    await expect.poll(() => run.textContent(), SLOW).toContain('running');
    await expect.poll(() => lossOf(page), SLOW).not.toBeNull();
    const before = await lossOf(page);
    await expect.poll(() => lossOf(page), SLOW).not.toBe(before);

    await page.getByLabel('curves of earlier').check();
    const lines = page.locator('[data-key="losses/overall_loss"] .last');
    await expect.poll(() => lines.count(), SLOW).toBe(2);
    await expect.poll(() => page.locator('#compared').textContent(), SLOW).toMatch(/options differ/);
    expect(await page.locator('#config').textContent()).toContain('training_tokens');
    // The last evaluation of the run that is done.
    await expect
      .poll(() => page.locator('#pareto circle title').allTextContents())
      .toContainEqual(expect.stringMatching(/^earlier: L0 4/));
    await page.getByLabel('log scale').check();
    await page.locator('#smoothing').fill('0.6');
    await screenshot(page, 'dashboard-1400');
    expect(await seriousBarriers(page)).toEqual([]);

    const checkpoints = join(cli.folder, 'runs/live/checkpoints');
    await page.getByRole('button', { name: 'checkpoint now' }).click();
    await expect
      .poll(() => existsSync(checkpoints) && readdirSync(checkpoints).filter((name) => /^\d+$/.test(name)).length, SLOW)
      .toBe(1);
    expect(live.child.exitCode).toBeNull();

    page.once('dialog', (dialog) => void dialog.accept());
    await page.getByRole('button', { name: 'stop' }).click();
    expect((await live.ended).stderr).toContain('Stopped after');
    await expect.poll(() => run.textContent(), SLOW).not.toContain('running');
    await page.close();
    process.child.kill('SIGINT');
    expect((await process.ended).code).toBe(0);
  });

  test('on a narrow screen, in the dark, by keyboard: nothing is wider than the page, and nothing keeps anybody out', async () => {
    const { process, url } = await dashboard();
    const page = await open(url, 400);
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    await expect.poll(() => lossOf(page), SLOW).not.toBeNull();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400);
    const chart = page.locator('[data-key="losses/overall_loss"]');
    await chart.focus();
    await page.keyboard.press('+');
    await page.keyboard.press('0');
    await page.keyboard.press('l');
    expect(await page.getByLabel('log scale').isChecked()).toBe(true);
    await page.keyboard.press('/');
    await page.keyboard.type('earlier');
    await expect.poll(() => page.locator('#runs li').count()).toBe(1);
    await screenshot(page, 'dashboard-400');
    expect(await seriousBarriers(page)).toEqual([]);
    await page.close();
    process.child.kill('SIGTERM');
    await process.ended;
  });
});

test('D7: the dashboard of a run may be killed, and is gone when the run is', async () => {
  const run = cli.start(endlessRun('--name', 'watched', '--dashboard'));
  await run.saw('token=');
  await run.saw('step ');
  const pids = readdirSync('/proc').filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return words.includes('--until_stdin_ends') && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(cli.marker);
    } catch {
      return false;
    }
  });
  expect(pids).toHaveLength(1);
  process.kill(Number(pids[0]), 'SIGKILL');
  await new Promise((next) => setTimeout(next, 500));
  expect(run.child.exitCode).toBeNull();
  run.child.kill('SIGINT');
  expect((await run.ended).stderr).toContain('Stopped after');
});
