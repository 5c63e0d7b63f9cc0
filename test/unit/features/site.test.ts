import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { serveFeatures } from '../../../src/features/site.ts';

const folder = mkdtempSync(join(tmpdir(), 'features-site-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('data that is not there is not found, and what is there but damaged is refused', async () => {
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data/chunk-00001.js'), 'alert(1)');
  const read = async () => ({ tokens: [], latents: [] }) as never;
  const site = await serveFeatures({ folder, page: '', files: new Map(), read, port: 0 });
  const cookie = (await fetch(site.url)).headers.get('set-cookie')?.split(';')[0] as string;
  const status = async (name: string): Promise<number> =>
    (await fetch(new URL(`/data/${name}`, site.url), { headers: { cookie } })).status;
  expect(await status('chunk-00000.js')).toBe(404);
  expect(await status('manifest.json')).toBe(404);
  expect(await status('chunk-00001.js')).toBe(400);
  await site.close();
});
