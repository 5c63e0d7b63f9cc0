import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ERROR_CODES, SaeLensError } from '../../src/errors.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');

test('docs/errors.md explains every code with its exit code, and no other', () => {
  const explained = [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(([, code, exit]) => [code, Number(exit)]);
  expect(Object.fromEntries(explained)).toEqual(ERROR_CODES);
});

test('a code is API: adding or removing one is a deliberate edit of this number', () => {
  expect(Object.keys(ERROR_CODES)).toHaveLength(43);
});

test('every code the worker raises is in the table', () => {
  const root = join(import.meta.dirname, '../..');
  const raised = new Set<string>();
  for (const file of readdirSync(join(root, 'pyworker'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.py')) continue;
    const source = readFileSync(join(root, 'pyworker', file), 'utf8');
    for (const [, code] of source.matchAll(/WorkerError\(\s*"([A-Z_]+)"/g)) raised.add(code as string);
  }
  expect(raised.size).toBeGreaterThan(10);
  expect([...raised].filter((code) => !(code in ERROR_CODES))).toEqual([]);
});

test('an error carries its exit code, its hint and its details', () => {
  const error = new SaeLensError('HOOK_NOT_FOUND', 'no such hook', { hint: 'look', details: { nearest: [] } });
  expect(error).toMatchObject({ exitCode: 4, hint: 'look', details: { nearest: [] }, name: 'SaeLensError' });
});
