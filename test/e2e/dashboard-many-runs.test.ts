import { appendFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserForTests, hasBrowser } from '../browser.ts';
import { type Command, commandLineForTests } from '../command-line.ts';
import { tinyRun } from '../tiny-run.ts';

const RUNS = 200;
const cli = commandLineForTests();
const { open, screenshot, seriousBarriers } = browserForTests(cli.marker);
const SLOW = { timeout: 30_000 };
let server: Command;
let url = '';

const runFile = (run: number, name: string): string => join(cli.folder, 'runs', `run-${run}`, name);

/** A run of ten steps, and copies of it that are later by a minute each. */
beforeAll(async () => {
  if (!hasBrowser) return;
  await cli.run(tinyRun('--name', 'run-0'));
  const record = JSON.parse(readFileSync(runFile(0, 'run.json'), 'utf8'));
  for (let i = 1; i < RUNS; i++) {
    cpSync(join(cli.folder, 'runs/run-0'), join(cli.folder, `runs/run-${i}`), { recursive: true });
    const created = new Date(Date.parse(record.created) + 60_000 * i).toISOString();
    writeFileSync(runFile(i, 'run.json'), JSON.stringify({ ...record, name: `run-${i}`, created }));
  }
  server = cli.start(['dashboard', 'runs', '--port', '0']);
  await server.saw('token=');
  url = /http:\S+/.exec(server.stdout)?.[0] as string;
});
afterAll(async () => {
  server?.child.kill('SIGINT');
  await server?.ended;
});

const names = (page: Page): Promise<string[]> => page.locator('#runs .name').allTextContents();

describe.skipIf(!hasBrowser)('in Chromium, of two hundred runs', () => {
  test.each([1400, 400])('all are listed, the newest first, and found by words, %i pixels wide', async (width) => {
    const page = await open(url, width);
    await expect.poll(() => page.locator('#count').textContent(), SLOW).toBe(`${RUNS}`);
    expect((await names(page)).slice(0, 2)).toEqual(['run-199', 'run-198']);
    await page.locator('#filter').fill('run-77');
    expect(await names(page)).toEqual(['run-77']);
    await page.locator('#filter').fill('');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
    await screenshot(page, `dashboard-many-runs-${width}`);
    expect(await seriousBarriers(page)).toEqual([]);
    await page.close();
  });

  test('a keyboard goes from run to run by arrows, and past them all by a link', async () => {
    const page = await open(url, 1400);
    await expect.poll(async () => (await names(page)).length, SLOW).toBe(RUNS);
    await page.getByLabel('curves of run-199').focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Space');
    expect(await page.getByLabel('curves of run-197').isChecked()).toBe(true);
    const jump = page.getByRole('link', { name: 'curves' });
    await jump.focus();
    expect((await jump.boundingBox())?.height).toBeGreaterThan(10);
    await page.close();
  });

  test('a run that is removed while somebody looks gives way to another, one whose metrics are cut is read again', async () => {
    const page = await open(url, 1400);
    await expect.poll(() => page.locator('#run-name').textContent(), SLOW).toBe('run-199');
    const loss = page.locator('[data-key="losses/overall_loss"] .last');
    await expect.poll(() => loss.allTextContents(), SLOW).toEqual([expect.stringMatching(/^run-199\d/)]);
    truncateSync(runFile(199, 'metrics.jsonl'), 0);
    await expect.poll(() => page.locator('#reading').textContent(), SLOW).toBe('No rows yet.');
    rmSync(join(cli.folder, 'runs/run-199'), { recursive: true });
    await expect.poll(() => page.locator('#run-name').textContent(), SLOW).toBe('run-198');
    await expect.poll(() => loss.allTextContents(), SLOW).toEqual([expect.stringMatching(/^run-198\d/)]);
    expect(await page.locator('#count').textContent()).toBe(`${RUNS - 1}`);
    await page.close();
  });

  test('a metric may have the name of what every object has, and what is no number leaves a gap', async () => {
    const page = await open(url, 1400);
    const loss = page.locator('[data-key="losses/overall_loss"] .last');
    await expect.poll(() => loss.count(), SLOW).toBe(1);
    const newest = Number((await names(page))[0]?.replace('run-', ''));
    const row = (step: number, value: string): string =>
      `{"step":${step},"constructor":1,"__proto__":2,"losses/overall_loss":${value}}\n`;
    appendFileSync(runFile(newest, 'metrics.jsonl'), row(20, '14.5') + row(21, 'null') + row(22, 'NaN'));
    await expect.poll(() => loss.textContent(), SLOW).toContain('14.5');
    await page.getByLabel('more').selectOption('constructor');
    await expect.poll(() => page.locator('[data-key="constructor"] .last').textContent(), SLOW).toMatch(/1$/);
    await page.close();
  });

  test('tabs that nobody sees keep no connection, so that a ninth opens; seen again they tell what came meanwhile', async () => {
    const page = await open(url, 1400);
    const loss = page.locator('[data-key="losses/overall_loss"] .last');
    await expect.poll(() => loss.count(), SLOW).toBe(1);
    const turn = (tab: Page, hidden: boolean): Promise<unknown> =>
      tab.evaluate(
        `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'))`,
      );
    await turn(page, true);
    for (let i = 0; i < 8; i++) {
      const tab = await page.context().newPage();
      await tab.goto(new URL('/', url).href);
      await expect.poll(async () => (await names(tab)).length, SLOW).toBeGreaterThan(RUNS - 2);
      await turn(tab, true);
    }
    const newest = (await names(page))[0]?.replace('run-', '');
    appendFileSync(runFile(Number(newest), 'metrics.jsonl'), '{"step":11,"losses/overall_loss":12.5}\n');
    await turn(page, false);
    await expect.poll(() => loss.textContent(), SLOW).toContain('12.5');
    await page.context().close();
  });
});
