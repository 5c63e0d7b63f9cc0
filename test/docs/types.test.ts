import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { installPackage, typeErrors } from '../user-project.ts';
import { PAGES, programOf } from './pages.ts';

const folder = mkdtempSync(join(tmpdir(), 'snippets-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the TypeScript of each page is a program that type-checks in a project that has the package', async () => {
  installPackage(folder);
  const programs = PAGES.map((page) => [page.path, programOf(page)] as const).filter(([, text]) => text);
  expect(programs.length).toBeGreaterThan(7);
  for (const [path, text] of programs) writeFileSync(join(folder, `${path.replaceAll('/', '-')}.ts`), text);
  expect(await typeErrors(folder)).toBe('');
}, 180_000);

test('no TypeScript hides in a block that does not say its language', () => {
  const hidden = PAGES.flatMap(({ code }) => code).filter(
    ({ language, text }) => language !== 'ts' && /^(import .* from|const .* = (await|new)) /m.test(text),
  );
  expect(hidden.map(({ where }) => where)).toEqual([]);
});
