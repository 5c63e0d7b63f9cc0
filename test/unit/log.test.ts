import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger, redact, withoutSecrets } from '../../src/log.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const messages = (name: string): string[] =>
  readFileSync(join(folder, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).msg);

describe('log.jsonl', () => {
  it('is two files of a bounded size, of whole lines, however much is said; the last words are there', () => {
    const file = join(folder, 'log.jsonl');
    for (const begin of [0, 500]) {
      // Another session of the run goes on in the same file.
      const log = createLogger({ file, fileBytes: 10_000, level: 'silent' });
      for (let i = begin; i < begin + 500; i++) log.debug(`message ${i} ${'x'.repeat(i % 50)}`);
      log.close();
    }
    expect(readdirSync(folder).sort()).toEqual(['log.jsonl', 'log.older.jsonl']);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(10_000);
    const kept = [...messages('log.older.jsonl'), ...messages('log.jsonl')].map((text) => Number(text.split(' ')[1]));
    expect(kept.at(-1)).toBe(999);
    expect(kept).toEqual(Array.from(kept, (_, i) => (kept[0] as number) + i));
    expect(kept.length).toBeGreaterThan(80);
  });
});

describe('secrets', () => {
  it.each([
    ['a token of the hub', 'Bearer hf_abcdefghijklmnop0123', 'Bearer [secret]'],
    ['a password in an address', 'at https://me:secret@host/x', 'at https://[secret]@host/x'],
    ['a password in an address that was taken for a path', 'https:/me:secret@host', 'https:/[secret]@host'],
    ['no secret', 'https://host:8080/a@b and user@host', 'https://host:8080/a@b and user@host'],
  ])('%s', (_, text, expected) => {
    expect(redact(text)).toBe(expected);
    expect(withoutSecrets({ a: [text] })).toEqual({ a: [expected] });
  });
});
