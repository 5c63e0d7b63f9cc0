import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LiveLine } from '../../../src/sinks/live-line.ts';
import { PretokenizeProgress } from '../../../src/sinks/pretokenize-progress.ts';

function screen(columns: number, isTTY: boolean) {
  const out = Object.assign(new PassThrough(), { columns, isTTY }) as unknown as NodeJS.WriteStream;
  let text = '';
  out.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  return { out, text: () => text };
}

/** 1 000 documents of 400 tokens a second. */
function half(total: number | null): PretokenizeProgress {
  const progress = new PretokenizeProgress();
  for (let s = 0; s <= 60; s++) {
    progress.consume({ documents: s * 1_000, total, tokens: s * 400_000, sequences: s * 3_000 }, 100 + s);
  }
  return progress;
}

describe('the progress of pretokenizing', () => {
  it('tells documents, time left, speed and counts', () => {
    expect(half(120_000).parts()).toEqual([
      ...['60 000/120 000 documents', 'ETA 1m 00s', '400.0k tok/s', '1000 rows/s', '24.0M tokens', '180 000 sequences'],
    ]);
  });

  it('knows no end of a stream without a length', () => {
    expect(half(null).parts().slice(0, 2)).toEqual(['60 000 documents', '400.0k tok/s']);
  });

  it('forgets how slow the beginning was, and divides by no zero', () => {
    const progress = new PretokenizeProgress();
    const counts = { total: null, tokens: 0, sequences: 0 };
    progress.consume({ ...counts, documents: 0 }, 0);
    progress.consume({ ...counts, documents: 0 }, 0);
    expect(progress.speed).toBeNull();
    progress.consume({ ...counts, documents: 1 }, 1_000);
    progress.consume({ ...counts, documents: 101 }, 1_001);
    expect(progress.speed?.documents).toBe(100);
  });
});

describe('a live line', () => {
  it('is drawn in place as far as the terminal is wide, below the lines that stay', () => {
    const { out, text } = screen(20, true);
    let now = 0;
    const line = new LiveLine({ out, env: {}, now: () => now });
    line.draw(['1/2 documents', 'ETA 5s', 'more']);
    now += 1_000;
    line.draw(['2/2 documents', 'ETA 0s']);
    line.print('a line\u001b[31m');
    line.end();
    const plain = stripVTControlCharacters(text());
    expect(plain).toContain('2/2 documents');
    expect(plain).not.toContain('ETA');
    expect(plain).toContain('a line');
  });

  it('is a plain line every ten seconds without a terminal, and nothing when quiet but warnings', () => {
    const { out, text } = screen(0, false);
    let now = 0;
    const line = new LiveLine({ out, env: {}, now: () => now });
    for (; now < 25_000; now += 1_000) line.draw([`at ${now / 1_000}`]);
    expect(text()).toBe('at 0\nat 10\nat 20\n');
    const silent = screen(0, false);
    const quiet = new LiveLine({ out: silent.out, env: {}, quiet: true });
    quiet.draw(['no']);
    quiet.print('no');
    quiet.warn('warning: yes');
    expect(silent.text()).toBe('warning: yes\n');
  });
});
