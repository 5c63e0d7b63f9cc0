import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { hasBrowser, launchChromium } from './chromium.ts';
import { MARKER } from './orphans.ts';

export { hasBrowser };

const SCREENSHOTS = resolve('test/screenshots');

/** A browser for one test file. Whatever its pages complain of on the console fails the file. */
export function browserForTests(marker: string) {
  let browser: Browser;
  const complaints: string[] = [];
  beforeAll(async () => {
    const env = { ...process.env, [MARKER]: marker } as Record<string, string>;
    if (hasBrowser) browser = await launchChromium(env);
  });
  afterAll(async () => {
    await browser?.close();
    expect(complaints, 'errors on the console of the page').toEqual([]);
  });
  return {
    open: async (url: string, width: number): Promise<Page> => {
      const page = await (await browser.newContext({ viewport: { width, height: 900 } })).newPage();
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      await page.goto(url);
      return page;
    },
    /** Kept for people to look at, in test/screenshots. */
    screenshot: async (page: Page, name: string): Promise<void> => {
      mkdirSync(SCREENSHOTS, { recursive: true });
      await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
    },
    /** What axe finds that keeps somebody from using the page. */
    seriousBarriers: async (page: Page): Promise<string[]> => {
      // The page's Content-Security-Policy stays: nothing is added to the document.
      await page.evaluate(axe.source);
      // Style sheets of a page from disk cannot be fetched; only a rule about turned screens would want them.
      const { violations } = (await page.evaluate('axe.run({ preload: false })')) as {
        violations: { id: string; impact: string; nodes: { html: string }[] }[];
      };
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
    },
  };
}
