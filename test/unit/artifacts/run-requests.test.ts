import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { hearRequests, type RunRequest } from '../../../src/artifacts/run-requests.ts';
import { mutations } from '../../mutations.ts';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, rm: vi.fn(real.rm) };
});

const LOCK = '3b241101-e2bb-4255-8caf-4136c566a962';
let folder = '';
let heard: RunRequest[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'requests-'));
  heard = [];
  const end = hearRequests(folder, LOCK, (what) => heard.push(what));
  onTestFinished(() => {
    end();
    vi.mocked(rm).mockClear();
    rmSync(folder, { recursive: true });
  });
});
const ask = (what: RunRequest, text: string | Buffer = LOCK): void =>
  writeFileSync(join(folder, `${what}.request`), text);
const gone = (what: RunRequest) => expect.poll(() => existsSync(join(folder, `${what}.request`))).toBe(false);

describe('requests to a run, by files in its folder', () => {
  it('are heard once each, as often as they are made', async () => {
    for (let i = 1; i <= 2; i++) {
      ask('checkpoint');
      await gone('checkpoint');
      expect(heard).toHaveLength(i);
    }
    ask('stop');
    await gone('stop');
    expect(heard).toEqual(['checkpoint', 'checkpoint', 'stop']);
  });

  it('that are damaged or meant for an earlier run are removed and not heard; one of gigabytes is not read', async () => {
    for (const bytes of mutations(Buffer.from(LOCK), 4, 9)) {
      ask('checkpoint', bytes);
      await gone('checkpoint');
    }
    const before = process.memoryUsage().rss;
    ask('stop');
    truncateSync(join(folder, 'stop.request'), 8 * 2 ** 30);
    await sleep(600);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20);
    expect(heard).toEqual([]);
  });

  it('of which a file cannot be removed are obeyed once, not four times a second', async () => {
    const { rm: real } = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    vi.mocked(rm).mockRejectedValue(new Error('EPERM'));
    ask('checkpoint');
    await expect.poll(() => heard).toEqual(['checkpoint']);
    await sleep(700);
    expect(heard).toEqual(['checkpoint']);
    vi.mocked(rm).mockImplementation(real);
    await gone('checkpoint');
  });

  it('that are pipes or folders are not waited for: others are still heard', async () => {
    execFileSync('mkfifo', [join(folder, 'checkpoint.request')]);
    await sleep(600);
    ask('stop');
    await gone('stop');
    rmSync(join(folder, 'checkpoint.request'));
    mkdirSync(join(folder, 'checkpoint.request'));
    await sleep(600);
    expect(heard).toEqual(['stop']);
  });
});
