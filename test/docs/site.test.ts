import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserForTests, hasBrowser } from '../browser.ts';
import { newMarker } from '../orphans.ts';

const site = mkdtempSync(join(tmpdir(), 'docs-site-'));
const { open, screenshot, seriousBarriers } = browserForTests(newMarker());
const LONG_MS = 180_000;
const address = (path: string): string => pathToFileURL(join(site, path)).href;

/** As wide as a screen, and as a telephone. */
const WIDTHS = [1400, 400];
/** A part of its tree is opened by a line that is a link too; each takes the focus and does what it says. */
const OF_TYPEDOC = 'nested-interactive: <summary class="tsd-accordion-summary"';
const barriers = async (page: Page): Promise<string[]> =>
  (await seriousBarriers(page)).filter((barrier) => !barrier.startsWith(OF_TYPEDOC));
/** To a file, and to a place in it. */
function leadsSomewhere(link: URL): boolean {
  const path = fileURLToPath(new URL(link.pathname, 'file:'));
  if (!existsSync(path) || !statSync(path).isFile()) return false;
  const place = decodeURIComponent(link.hash.slice(1));
  return place === '' || !path.endsWith('.html') || readFileSync(path, 'utf8').includes(`id="${place}"`);
}
/** How far a page can be moved sideways; nothing may make it wider than the screen. */
const overhang = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth') as Promise<number>;

describe.skipIf(!hasBrowser)('the site that npm run docs builds, opened from disk', { timeout: LONG_MS }, () => {
  beforeAll(() => {
    execFileSync('npx', ['typedoc', '--out', site], { stdio: 'pipe' });
  }, LONG_MS);
  afterAll(() => rmSync(site, { recursive: true }));

  test.each(WIDTHS)('leads from the README to a page of each part, at %i px', async (width) => {
    const page = await open(address('index.html'), width);
    const tree = page.locator('#tsd-nav-container');
    for (const [part, name] of [
      ['Guide', 'Data'],
      ['Concepts', 'Metrics'],
      ['Reference', 'Options'],
    ] as const) {
      const menu = page.locator('#tsd-toolbar-menu-trigger');
      if (await menu.isVisible()) await menu.click();
      const link = tree.locator('a[href*=documents]', { hasText: new RegExp(`^${name}$`) });
      // Which parts are open is remembered from page to page.
      if (!(await link.isVisible())) await tree.locator('summary', { hasText: part }).locator('svg').first().click();
      await link.click();
      await expect.poll(() => page.locator('h1').first().textContent()).toBe(name);
      expect(await overhang(page)).toBeLessThanOrEqual(0);
      await screenshot(page, `docs-${name.toLowerCase()}-${width}`);
      expect(await barriers(page)).toEqual([]);
    }
    await page.context().close();
  });

  test('has no dead link, nothing that reaches beyond a telephone, and no barrier, on any page of ours', async () => {
    const page = await open(address('index.html'), 400);
    for (const path of ['index.html', ...readdirSync(join(site, 'documents')).map((name) => `documents/${name}`)]) {
      await page.goto(address(path));
      expect.soft(await overhang(page), path).toBeLessThanOrEqual(0);
      expect.soft(await barriers(page), path).toEqual([]);
      const links = (await page.evaluate('[...document.links].map(({ href }) => href)')) as string[];
      const dead = links.filter((link) => link.startsWith('file:') && !leadsSomewhere(new URL(link)));
      expect.soft(dead, path).toEqual([]);
    }
    await page.context().close();
  });

  test.each(WIDTHS)('finds an option, an error code and a function, at %i px', async (width) => {
    const page = await open(address('index.html'), width);
    for (const [words, found] of [
      ['n_batches_in_buffer', 'Options'],
      ['RESUME_REFUSED', 'Errors'],
      ['collectFeatures', 'collectFeatures'],
    ] as const) {
      await page.locator('#tsd-search-trigger').click();
      await page.locator('#tsd-search-input').fill(words);
      const results = page.locator('#tsd-search-results');
      await expect.poll(() => results.textContent()).toContain(found);
      await page.keyboard.press('Escape');
    }
    await page.context().close();
  });
});
