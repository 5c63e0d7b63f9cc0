import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { fileLayer } from '../../../src/config/file.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import type { SaeLensError } from '../../../src/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The problems of a file, with the folder cut from their places. */
function problemsIn(path: string): string[] {
  try {
    resolveConfig([fileLayer(path)]);
  } catch (error) {
    const { details } = error as SaeLensError;
    if (!Array.isArray(details.problems)) throw error;
    return details.problems.map(({ where, path: option, message, hint }) =>
      [where?.slice(folder.length + 1), option, message, hint].filter(Boolean).join(' | '),
    );
  }
  return [];
}

test('every problem of a file is reported at once, each with line and column', () => {
  const path = file(
    'gpt2.yaml',
    `dataset_path: text
lr: "3e-4"
trian_batch_size_tokens: 3
sae:
  architecture: topk
  d_in: 6144
  expansion_factor: 4
  k: 24577
  dtype: flaot32
`,
  );
  expect(problemsIn(path)).toEqual([
    'gpt2.yaml:2:1 | lr | "3e-4" is text; expected a number | write 3e-4 without quotes',
    'gpt2.yaml:3:1 | trian_batch_size_tokens | is not an option | did you mean train_batch_size_tokens?',
    'gpt2.yaml:8:3 | sae.k | 24577 is more than d_sae = 24576 | use a value from 1 to 24576, usually 16 to 128',
    'gpt2.yaml:9:3 | sae.dtype | "flaot32" is not one of float32, bfloat16, float16, float64 | did you mean float32?',
  ]);
});

test('the message is a table of place, option and problem, with the way out below', () => {
  file('table.yaml', 'dataset_path: text\nsae:\n  d_sae: 64\n  architecture: topk\n  k: 100\n');
  process.chdir(folder);
  const message = (() => {
    try {
      resolveConfig([fileLayer('table.yaml')]);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  })();
  expect(message).toBe(
    `1 problem in table.yaml

  table.yaml:5:3  sae.k  100 is more than d_sae = 64
                         use a value from 1 to 64`,
  );
});

test('JSON is read like YAML, with places', () => {
  expect(problemsIn(file('a.json', '{\n\t"dataset_path": "text",\n\t"sead": 1\n}'))).toEqual([
    'a.json:3:2 | sead | is not an option | did you mean seed?',
  ]);
});

test.each<[string, string | Buffer, string]>([
  ['duplicate keys', 'lr: 1\nlr: 2\n', 'x.yaml:2:1 | Map keys must be unique'],
  ['tabs as indentation', 'sae:\n\tk: 1\n', 'x.yaml:2:1 | Tabs are not allowed as indentation'],
  ['anchors', 'lr: &a 1\n', 'x.yaml:1:8 | anchors are not accepted | write the value out'],
  [
    'bombs of aliases',
    `a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n`,
    'x.yaml:1:7 | anchors are not accepted | write the value out',
  ],
  ['numbers that are not finite', 'lr: .nan\n', 'x.yaml:1:5 | .nan is not a finite number'],
  ['__proto__', '{"__proto__": {"polluted": 1}}', 'x.yaml:1:2 | __proto__ cannot be a key'],
  ['keys that are not text', '1: 2\n', 'x.yaml:1:1 | a key must be text'],
  ['unknown tags', 'lr: !!js/function "x"\n', 'x.yaml:1:5 | Unresolved tag: tag:yaml.org,2002:js/function'],
  [
    'two documents',
    'lr: 1\n---\nlr: 2\n',
    'x.yaml:2:1 | begins a second document | a configuration is one: remove the line, or what follows it',
  ],
  [
    'JSON with a comment',
    '{\n  "a": "http://b", // why\n}',
    'x.yaml:2:20 | JSON has no comments | remove it, or write',
  ],
  ['JSON below a comment', '/* why */ {"lr": 1}', 'x.yaml:1:1 | JSON has no comments'],
  ['empty files', ' \n', 'x.yaml | the file is empty | was it written to the end?'],
  ['files of bytes', Buffer.from([0x89, 0x50, 0, 1]), 'x.yaml | the file is not text | give a configuration'],
  ['text that is not UTF-8', Buffer.from([0x61, 0x3a, 0x0a, 0x62, 0xff]), 'x.yaml:2:2 | is not UTF-8 text'],
  ['files that are too large', `#${' '.repeat(1_000_001)}`, 'the file has 1000002 bytes'],
  ['lists', '- 1\n', 'x.yaml:1:1 | holds no options'],
  ['deep nesting', `lr: ${'['.repeat(100_000)}`, 'x.yaml:1:37 | nests deeper than 32'],
  ['deep lists on one line', `${'- '.repeat(100_000)}1`, 'x.yaml:1:1 | nests deeper than 32'],
])('%s are refused with their position', (_name, content, expected) => {
  expect(problemsIn(file('x.yaml', content))[0]).toContain(expected);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test('a file that is not there is a problem like others', () => {
  expect(problemsIn(join(folder, 'none.yaml'))).toEqual(['none.yaml | the file does not exist']);
});

test('a folder is no file; the configuration in it is named', () => {
  mkdirSync(join(folder, 'run'));
  expect(problemsIn(join(folder, 'run'))).toEqual(['run | is a folder | give a file, YAML or JSON']);
  const inside = file('run/config.yaml', 'lr: 1');
  expect(problemsIn(join(folder, 'run'))).toEqual([`run | is a folder | did you mean ${inside}?`]);
});

test('a file of comments asks for nothing, and globs are no comments', () => {
  expect(fileLayer(file('comments.yaml', '# later\n')).value).toEqual({});
  expect(fileLayer(file('flow.yaml', '{dataset_path: data/*.json}')).value).toEqual({ dataset_path: 'data/*.json' });
});
