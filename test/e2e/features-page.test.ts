import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserForTests, hasBrowser } from '../browser.ts';
import { makeFeatureFolder } from '../fixtures/feature-folder.ts';
import { newMarker } from '../orphans.ts';

const { open, screenshot, seriousBarriers } = browserForTests(newMarker());
const folder = mkdtempSync(join(tmpdir(), 'features-'));
const url = pathToFileURL(join(folder, 'index.html')).href;
beforeAll(() => makeFeatureFolder(folder, 24_576));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(!hasBrowser)('a folder of features, opened from disk in Chromium', () => {
  test('lists 24 576 latents, finds them by token and number, sorts them and takes a range of densities', async () => {
    const page = await open(url, 1400);
    const requests: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    const first = page.locator('#list a').first();
    await expect.poll(() => first.textContent()).toMatch(/^24575/);
    expect(await page.locator('#list a').count()).toBeLessThan(60);
    await screenshot(page, 'features-overview-1400');

    await page.keyboard.press('/');
    await page.keyboard.type('lighthouse');
    await expect.poll(() => page.locator('#list a').count()).toBe(1);
    expect(await first.textContent()).toContain('·lighthouse');
    await page.locator('#search').fill('12345');
    expect(await first.textContent()).toMatch(/^12345/);
    await page.locator('#search').fill('');

    await page.locator('#sort').selectOption('index');
    await page.locator('#order').click();
    await expect.poll(() => first.textContent()).toMatch(/^0/);
    await page.locator('#density-from').fill('24');
    const kept = await page.locator('#count').textContent();
    expect(kept).toMatch(/^1\d\s\d{3} of 24\s576$/);
    await page.locator('#list').evaluate((list) => list.scrollTo(0, 100_000));
    await expect.poll(async () => Number(/^\d+/.exec((await first.textContent()) ?? '')?.[0])).toBeGreaterThan(10_000);
    expect(await seriousBarriers(page)).toEqual([]);
    expect(requests.filter((one) => !one.startsWith('file:'))).toEqual([]);
    await page.close();
  });

  test('shows a latent by its address: its examples by colour, underline and words, its logits and its neighbours', async () => {
    const page = await open(`${url}#latent=3`, 1400);
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe('Latent 3');
    const peak = page.locator('.example .peak').first();
    expect(await peak.textContent()).toBe(' lighthouse');
    const thickness = async (at: string): Promise<number> => {
      const shadow = await page.evaluate(`getComputedStyle(document.querySelector('${at}')).boxShadow`);
      return Number(/(-?[\d.]+)px 0px 0px inset/.exec(shadow as string)?.[1]);
    };
    expect(await thickness('.example .peak')).toBe(-4);
    expect(await thickness('.example .active:not(.peak)')).toBeCloseTo(-1.6);
    await peak.hover();
    expect(await page.locator('#tip').textContent()).toBe(' lighthouse activation 4 · 100 % of the maximum');
    await peak.focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#tip').textContent()).toContain('20 % of the maximum');
    await page.keyboard.press('ArrowDown');
    expect(await page.locator('#tip').textContent()).toContain('90 % of the maximum');
    expect(await page.locator('.example .said').first().textContent()).toMatch(/^Active on lighthouse 4, /);
    await page.mouse.move(0, 0);
    await screenshot(page, 'features-latent-1400');
    expect(await seriousBarriers(page)).toEqual([]);

    // Of a latent that the folder does not have there is no link.
    const similar = page.locator('.columns section', { hasText: 'Similar' }).locator('li .number');
    expect(await similar.evaluateAll((all) => all.map((one) => one.getAttribute('href')))).toEqual(['#latent=4', null]);
    await similar.first().click();
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe('Latent 4');
    await page.locator('#latent h2').click();
    await page.keyboard.press('k');
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe('Latent 5');
    await page.keyboard.press('j');
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe('Latent 4');
    await page.goto(`${url}#latent=9`);
    await expect
      .poll(() => page.locator('#latent').textContent())
      .toMatch(/It was not active on any of 100\s000 tokens/);
    await page.goto(`${url}#latent=99999`);
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('Latent 99999 is not here');
    await page.close();
  });

  test('words of tokens stay words: markup, directions and what nobody sees', async () => {
    const page = await open(`${url}#latent=6`, 1400);
    await expect.poll(() => page.locator('.example .peak').first().textContent()).toBe('<img src=x onerror=alert(1)>');
    const shown = (await page.locator('#latent').textContent()) ?? '';
    expect(shown).toContain('⟨U+202E⟩evil');
    expect(shown).toContain('⟨U+200B⟩');
    expect(shown).toContain('⟨empty⟩');
    expect(shown).not.toMatch(/[\u202e\u200b]/);
    expect(await page.locator('main img').count()).toBe(0);
    const text = page.locator('.example .text').first();
    expect(await text.textContent()).toContain('↵');
    expect(await text.textContent()).not.toContain('\n');
    await page.getByLabel('line breaks').check();
    await page.getByLabel('whitespace').check();
    await expect.poll(() => text.textContent()).toContain('↵\n');
    expect(await text.textContent()).toContain('·fox');
    await page.close();
  });

  test('on a narrow screen, in the dark: the list or a latent, nothing is wider than the page, nothing keeps anybody out', async () => {
    const page = await open(url, 400);
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    await page.locator('#search').fill('lighthouse');
    await expect.poll(() => page.locator('#list a').count()).toBe(1);
    await screenshot(page, 'features-list-400');
    expect(await seriousBarriers(page)).toEqual([]);
    await page.locator('#list a').click();
    await expect.poll(() => page.locator('#latent h2').textContent()).toBe('Latent 3');
    expect(await page.locator('#list').isVisible()).toBe(false);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400);
    await screenshot(page, 'features-latent-400');
    expect(await seriousBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await expect.poll(() => page.locator('#list').isVisible()).toBe(true);
    await page.close();
  });
});
