import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type PushDatasetOptions, pushDataset } from '../../../src/artifacts/hub-dataset.ts';
import type { PushResult, UploadProgress } from '../../../src/artifacts/hub-upload.ts';
import type { ErrorCode, SaeLensError } from '../../../src/errors.ts';
import { first, MockHub, refuse } from '../../fixtures/mock-hub.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';

const TOKEN = 'hf_planted0123456789abcdef';
const REPO = 'user/tokens';
const KEY = `datasets/${REPO}`;
const SHARDS = ['data/train-00000-of-00002.arrow', 'data/train-00001-of-00002.arrow'];
let hub: MockHub;
let folder: string;

beforeEach(async () => {
  hub = await MockHub.start();
  folder = mkdtempSync(join(tmpdir(), 'hub-dataset-'));
  mkdirSync(join(folder, 'data'));
  for (const [i, shard] of SHARDS.entries()) writeFileSync(join(folder, shard), Buffer.alloc(300_000, i + 1));
  writeFileSync(join(folder, 'sae_lens.json'), '{"context_size": 8}');
  writeFileSync(join(folder, '.hidden'), 'mine');
  for (const name of ['HF_HUB_OFFLINE', 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_ENDPOINT']) vi.stubEnv(name, '');
  vi.stubEnv('HF_TOKEN_PATH', join(folder, 'no-token'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  rmSync(folder, { recursive: true });
});

const send = (options: Partial<PushDatasetOptions> = {}): Promise<PushResult> =>
  pushDataset(folder, { repo: REPO, hubUrl: hub.url, token: TOKEN, ...options });
const failure = async (code: ErrorCode, options: Partial<PushDatasetOptions> = {}): Promise<SaeLensError> => {
  const error = (await send(options).catch((e: unknown) => e)) as SaeLensError;
  expect(error).toMatchObject({ code });
  return error;
};
const names = (revision?: string): string[] => [...hub.files(KEY, revision).keys()].sort();
const puts = (): string[] => hub.asked(/^PUT/);
const EVERYTHING = ['.gitattributes', ...SHARDS, 'sae_lens.json'];

describe('a folder that becomes a dataset repository', () => {
  it('is there after one commit; the repository is made, public', async () => {
    const { sent, commit, url } = await send({ message: 'All of it' });
    expect(names()).toEqual(EVERYTHING);
    expect(
      hub
        .files(KEY)
        .get(SHARDS[1] as string)
        ?.equals(Buffer.alloc(300_000, 2)),
    ).toBe(true);
    expect(hub.repos.get(KEY)?.log).toEqual(['initial commit', 'All of it']);
    expect(hub.repos.get(KEY)?.refs.get('main')).toBe(commit);
    expect(hub.repos.get(KEY)?.token).toBeUndefined();
    expect(sent.map(({ path }) => path)).toEqual([...SHARDS, 'sae_lens.json']);
    expect(url).toBe(`${hub.url}/${KEY}`);
  });

  it('is not sent again: nothing to do, no commit', async () => {
    const { commit } = await send();
    const again = await send();
    expect(again).toMatchObject({ sent: [], commit, unchanged: [...SHARDS, 'sae_lens.json'] });
    expect(hub.asked(/commit/)).toHaveLength(1);
    writeFileSync(join(folder, 'sae_lens.json'), '{"context_size": 9}');
    expect((await send()).sent).toEqual([{ path: 'sae_lens.json', bytes: 19 }]);
    expect(puts()).toHaveLength(2);
  });

  it('goes to a branch, which is made, and to a private repository', async () => {
    await send({ revision: 'v2', isPrivate: true });
    expect(hub.repos.get(KEY)?.token).toBe(TOKEN);
    expect(names('v2')).toEqual(EVERYTHING);
    expect(names('main')).toEqual(['.gitattributes']);
  });

  it('takes the place of shards that were cut otherwise, and of nothing else; a card stays', async () => {
    const old = ['data/train-00000-of-00001.arrow', 'data/test-00000-of-00001.arrow', 'notes.md', 'README.md'];
    hub.commit(KEY, Object.fromEntries(old.map((name) => [name, Buffer.from('old')])));
    writeFileSync(join(folder, 'README.md'), '# ours');
    const { deleted } = await send();
    expect(deleted).toEqual([old[0]]);
    expect(names()).toEqual([...SHARDS, ...old.slice(1), 'sae_lens.json'].sort());
    expect(String(hub.files(KEY).get('README.md'))).toBe('old');
  });

  it('is listed by a dry run, which changes nothing and needs no token', async () => {
    const { sent, commit } = await send({ dryRun: true, token: undefined });
    expect(commit).toBeNull();
    expect(sent.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(600_019);
    expect(hub.repos.size).toBe(0);
  });

  it('tells how far it is', async () => {
    const seen: UploadProgress[] = [];
    await send({ onProgress: (progress) => seen.push(progress) });
    expect(seen.length).toBeGreaterThan(4);
    expect(new Set(seen.map(({ totalBytes }) => totalBytes))).toEqual(new Set([600_019]));
    expect(seen.at(-1)?.sentBytes).toBe(600_000);
  });

  it('goes up in parts when the hub wants parts', async () => {
    hub.partBytes = 130_000;
    await send();
    expect(puts()).toHaveLength(6);
    expect(
      hub
        .files(KEY)
        .get(SHARDS[0] as string)
        ?.equals(Buffer.alloc(300_000, 1)),
    ).toBe(true);
  });

  it('with a link in it is refused: it would send what lies elsewhere', async () => {
    symlinkSync('/etc/hostname', join(folder, 'data/link'));
    expect((await failure('DATASET_INVALID')).message).toContain('"data/link" is no regular file');
    expect(hub.requests).toEqual([]);
  });
});

describe('a hub that refuses an upload', () => {
  const cut = (_: unknown, response: ServerResponse) => response.destroy();

  it.each([
    ['no token', 'HUB_TOKEN', { token: undefined }, 'only with a token', 'hf auth login'],
    [
      'a token that may only read',
      'HUB_FORBIDDEN',
      { token: 'hf_read' },
      '(403, the token of the token option',
      'write access',
    ],
    [
      'somebody else’s name',
      'HUB_FORBIDDEN',
      { repo: 'other/x' },
      'You may not create repositories in other',
      'write access',
    ],
  ] as const)('%s has its own code, message and next step', async (_, code, options, message, hint) => {
    const error = await failure(code, options);
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });

  it('a public repository where a private one was asked for gets nothing', async () => {
    hub.commit(KEY, {});
    const error = await failure('HUB_CONFLICT', { isPrivate: true });
    expect(error.message).toContain('it is public and a private one was asked for');
    expect(hub.asked(/^(PUT|POST .*commit)/)).toEqual([]);
  });

  it('somebody else’s commit in between is kept: read anew, sent once more, no file twice', async () => {
    hub.commit(KEY, { 'theirs.txt': Buffer.from('1') });
    hub.fault = first(1, /POST .*commit/, (_, response) => {
      hub.commit(KEY, { 'theirs.txt': Buffer.from('2') });
      refuse(response, 412, null, 'A commit has happened since.');
    });
    const log = keepLog();
    await send({ log });
    expect(String(hub.files(KEY).get('theirs.txt'))).toBe('2');
    expect(names()).toContain(SHARDS[0]);
    expect(puts()).toHaveLength(2);
    expect(log.lines.join()).toContain('was changed meanwhile');
  });

  it('a commit that is always late ends with its own code', async () => {
    hub.fault = first(9, /POST .*commit/, (_, response) => refuse(response, 412, null, 'A commit has happened since.'));
    const error = await failure('HUB_CONFLICT');
    expect(error.message).toContain('somebody else changed it at the same time (412');
    expect(error.hint).toContain('run the same command again');
  });

  it('is asked again after 429 and 503, in the storage too', async () => {
    let refusals = 0;
    hub.fault = (request, response) => {
      const times = /preupload|batch|lfs|commit/.test(request.url ?? '') ? refusals++ % 3 : 2;
      if (times === 0) response.writeHead(429, { 'Retry-After': '0' }).end();
      if (times === 1) response.writeHead(503, { 'Retry-After': '0' }).end();
      return times < 2;
    };
    await send();
    expect(names()).toEqual(EVERYTHING);
  });

  it('that cuts a file off gets it again, and only it', async () => {
    hub.fault = first(1, /PUT/, cut);
    const log = keepLog();
    await send({ log });
    expect(names()).toEqual(EVERYTHING);
    expect(puts()).toHaveLength(3);
    expect(log.lines.join()).toContain('was cut off');
  });

  it('that always cuts is given up, with nothing half; the next try sends what is missing', async () => {
    hub.fault = first(99, /PUT/, cut);
    const error = await failure('HUB_UNREACHABLE');
    expect(error.hint).toContain('sae-lens-ts doctor --online');
    expect(names()).toEqual(['.gitattributes']);
    hub.fault = () => false;
    await send();
    expect(names()).toEqual(EVERYTHING);
  }, 30_000);

  it('that has a part of the files is sent the rest', async () => {
    let puts = 0;
    hub.fault = (request, response) => {
      if (request.method !== 'PUT' || puts++ === 0) return false;
      const whenOneIsThere = setInterval(() => {
        if (hub.objects.size === 0) return;
        clearInterval(whenOneIsThere);
        refuse(response, 403, null, 'The link has expired.');
      }, 5);
      return true;
    };
    expect((await failure('HUB_FORBIDDEN')).message).toContain('The link has expired');
    expect([hub.objects.size, names()]).toEqual([1, ['.gitattributes']]);
    hub.fault = () => false;
    const asked = hub.asked(/^PUT/).length;
    await send();
    expect(hub.asked(/^PUT/).length - asked).toBe(1);
    expect(names()).toEqual(EVERYTHING);
  });

  it('whose answer to the commit is lost has the commit once', async () => {
    let commits = 0;
    hub.fault = (request, response) => {
      // The mock makes the commit, and hangs up instead of saying so.
      if (/commit/.test(request.url ?? '') && commits++ === 0) response.end = (() => response.destroy()) as never;
      return false;
    };
    const { commit } = await send();
    expect(hub.repos.get(KEY)?.log).toHaveLength(2);
    expect(commit).toBe(hub.repos.get(KEY)?.refs.get('main'));
  });

  it('an upload that one ends leaves nothing, and says how to go on', async () => {
    const stop = new AbortController();
    hub.fault = first(9, /PUT/, () => stop.abort());
    const error = await failure('INTERRUPTED', { signal: stop.signal });
    expect(error.message).toContain('it was interrupted; nothing half is left');
    expect(names()).toEqual(['.gitattributes']);
  });
});
