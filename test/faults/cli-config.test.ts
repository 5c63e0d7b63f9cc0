import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';

const { folder, run } = commandLineForTests();
const python = join(folder, 'python');
const STARTED = join(folder, 'python-was-started');
const env = { SAE_LENS_TS_PYTHON: python, PATH: folder };

beforeAll(() => {
  // Whoever starts Python leaves a trace.
  for (const name of ['python', 'python3', 'uv']) {
    writeFileSync(join(folder, name), `#!/bin/sh\n: > ${STARTED}\n`);
    chmodSync(join(folder, name), 0o755);
  }
});

/** A configuration that is well but for the lines given. */
const config = (...lines: string[]): string =>
  ['dataset_path: text.jsonl', 'model_name: m', 'hook_name: h', 'sae: {architecture: topk, d_sae: 64, k: 4}', ...lines]
    .filter((line, i, all) => all.findLastIndex((other) => other.split(':')[0] === line.split(':')[0]) === i)
    .join('\n');

describe('a bad configuration is refused with file, line and column before anything starts', () => {
  it.each<[string, string | Buffer, RegExp]>([
    ['a misspelled key', config('contxt_size: 64'), /bad\.yaml:5:1 +contxt_size .*\n +did you mean context_size\?/],
    ['text for a number', config('lr: "3e-4"'), /bad\.yaml:5:1 +lr +"3e-4" is text; expected a number/],
    ['a fraction for a whole number', config('context_size: 2.5'), /bad\.yaml:5:1 +context_size +2\.5 /],
    ['a number out of range', config('train_batch_size_tokens: -1'), /bad\.yaml:5:1 +train_batch_size_tokens +-1 /],
    [
      'an unknown choice',
      config('sae: {architecture: topp}'),
      /bad\.yaml:4:\d+ +sae\.architecture [\s\S]*did you mean topk/,
    ],
    [
      'k above d_sae',
      config('sae: {architecture: topk, d_sae: 8, k: 9}'),
      /bad\.yaml:4:\d+ +sae\.k +9 is more than d_sae = 8/,
    ],
    [
      'an option of another architecture',
      config('sae: {architecture: gated, d_sae: 8, k: 4}'),
      /bad\.yaml:4:\d+ +sae\.k/,
    ],
    ['a key that is there twice', `${config('lr: 1e-3')}\nlr: 1e-4`, /bad\.yaml:6:1 /],
    ['a tab as indentation', `${config()}\nlogger:\n\tlog_to_wandb: false`, /bad\.yaml:6:\d/],
    ['not a number', config('lr: .nan'), /bad\.yaml:5:5 +\.nan is not a finite number/],
    ['an alias bomb', config('a: &a [1,1,1,1,1,1,1,1,1]', ...bomb()), /bad\.yaml/],
    ['__proto__', config('__proto__: {polluted: true}'), /bad\.yaml:5:1 +__proto__/],
    ['text that is no UTF-8', Buffer.from([0x6c, 0x72, 0x3a, 0x20, 0xff, 0xfe]), /bad\.yaml.*UTF-8/],
    ['more than a megabyte', `# ${'x'.repeat(1 << 20)}`, /bad\.yaml +the file has 1048578 bytes/],
  ])('%s', async (_, text, words) => {
    writeFileSync(join(folder, 'bad.yaml'), text);
    const { code, stderr, stdout, seconds } = await run(['train', 'bad.yaml'], { env });
    expect(stderr).toMatch(/^error CONFIG_INVALID/);
    expect(stderr).toMatch(words);
    expect([code, stdout]).toEqual([2, '']);
    expect(existsSync(STARTED)).toBe(false);
    expect(readdirSync(folder)).not.toContain('runs');
    expect(seconds).toBeLessThan(3); // 0.25 s on a quiet machine: test/bench/cli-start.mjs measures
  });

  it('all problems at once, from the file and the flags', async () => {
    writeFileSync(join(folder, 'bad.yaml'), config('contxt_size: 64', 'lr: fast', 'n_batches_in_buffer: 0'));
    const { stderr } = await run(['train', 'bad.yaml', '--seed', 'x', '--l1_coefficient', '2'], { env });
    expect(stderr).toMatch(/error CONFIG_INVALID {2}5 problems/);
    for (const part of ['bad.yaml:5:1', 'bad.yaml:6:1', 'bad.yaml:7:1', '--seed', '--l1_coefficient']) {
      expect(stderr).toContain(part);
    }
  });

  it('a file that is not there, and two files', async () => {
    expect(await run(['train', 'none.yaml'], { env })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('none.yaml'),
    });
    expect(await run(['train', 'a.yaml', '--config', 'b.yaml'], { env })).toMatchObject({ code: 2 });
  });
});

function bomb(): string[] {
  return ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map((name, i) => {
    const before = String.fromCharCode(97 + i);
    return `${name}: &${name} [${Array(9).fill(`*${before}`).join(',')}]`;
  });
}
