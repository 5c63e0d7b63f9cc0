import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type DownloadOptions, downloadSae, listSaes } from '../../../src/artifacts/hub-download.ts';
import type { ErrorCode, SaeLensError } from '../../../src/errors.ts';
import { first, MockHub, refuse } from '../../fixtures/mock-hub.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';
import { safetensors, writeSaeFolder } from '../../fixtures/sae-folder.ts';

const REPO = 'user/repo';
const SAE_ID = 'blocks.0.hook_resid_pre';
const WEIGHTS = `${SAE_ID}/sae_weights.safetensors`;
const TOKEN = 'hf_planted0123456789abcdef';
let hub: MockHub;
let cacheDir: string;
let files: Record<string, Buffer>;

beforeEach(async () => {
  hub = await MockHub.start();
  cacheDir = mkdtempSync(join(tmpdir(), 'hub-'));
  const folder = join(cacheDir, 'made');
  mkdirSync(folder);
  writeSaeFolder(folder);
  const names = readdirSync(folder);
  files = Object.fromEntries(names.map((name) => [`${SAE_ID}/${name}`, readFileSync(join(folder, name))]));
  files[WEIGHTS] = safetensors({}, 3_000_000);
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_HUB_OFFLINE', 'HF_ENDPOINT']) vi.stubEnv(name, '');
  vi.stubEnv('HF_TOKEN_PATH', join(cacheDir, 'no-token'));
  hub.commit(REPO, { ...files, 'README.md': Buffer.from('#') });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

const get = (options: DownloadOptions & { repo?: string; saeId?: string } = {}): Promise<string> =>
  downloadSae(options.repo ?? REPO, options.saeId ?? SAE_ID, { cacheDir, hubUrl: hub.url, ...options });
const failure = async (code: ErrorCode, options: Parameters<typeof get>[0] = {}): Promise<SaeLensError> => {
  const error = (await get(options).catch((e: unknown) => e)) as SaeLensError;
  expect(error).toMatchObject({ code });
  return error;
};
/** `toEqual` would look at three million bytes one by one. */
const expectWeights = (folder: string): void => {
  expect(readFileSync(join(folder, 'sae_weights.safetensors')).equals(files[WEIGHTS] as Buffer)).toBe(true);
};

describe('fetching an SAE', () => {
  it('brings the four files of an SAE, nothing else, in the layout of Python’s cache', async () => {
    const folder = await get();
    expectWeights(folder);
    expect(readdirSync(folder).sort()).toEqual(['cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors']);
    const store = join(cacheDir, 'models--user--repo');
    const commit = readFileSync(join(store, 'refs', 'main'), 'utf8');
    expect(folder).toBe(join(store, 'snapshots', commit, SAE_ID));
    expect(readdirSync(join(store, 'blobs'))).toHaveLength(3);
    expect(hub.requests.some(({ line }) => line.includes('README'))).toBe(false);
  });

  it('says what it fetches, and prints nothing', async () => {
    const prints = [vi.spyOn(console, 'log'), vi.spyOn(console, 'debug'), vi.spyOn(process.stdout, 'write')];
    const log = keepLog();
    await get({ log });
    expect(log.lines.join()).toContain('3 files, 3.0 MB');
    for (const print of prints) expect(print).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  it('takes the revision that is asked for', async () => {
    const cfg = Buffer.from('{"of": "v2"}');
    const commit = hub.commit(REPO, { ...files, [`${SAE_ID}/cfg.json`]: cfg }, 'v2');
    for (const revision of ['v2', commit]) {
      const folder = await get({ revision });
      expect(folder).toContain(commit);
      expect(readFileSync(join(folder, 'cfg.json'))).toEqual(cfg);
    }
  });

  it('fetches once; with HF_HUB_OFFLINE the cache alone is asked, also when the hub is gone', async () => {
    const folder = await get();
    const asked = hub.requests.filter(({ line }) => line.includes('/resolve/')).length;
    expect(await get()).toBe(folder);
    expect(hub.requests.filter(({ line }) => line.includes('/resolve/'))).toHaveLength(asked);
    await hub.close();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await get()).toBe(folder);
    const error = await failure('HUB_OFFLINE', { saeId: 'blocks.1' });
    expect(error.message).toContain('the cache lacks cfg.json and sae_weights.safetensors');
    expect(error.hint).toContain('unset HF_HUB_OFFLINE');
  });

  it('asks the hub of HF_ENDPOINT, with the token of HF_TOKEN', async () => {
    vi.stubEnv('HF_ENDPOINT', `${hub.url}/`);
    vi.stubEnv('HF_TOKEN', TOKEN);
    hub.repos.get(REPO)!.token = TOKEN;
    await get({ hubUrl: undefined });
    expect(new Set(hub.requests.map(({ token }) => token))).toEqual(new Set([TOKEN]));
  });
});

describe('a hub that refuses', () => {
  it.each([
    [
      'an unknown repository',
      'HUB_TOKEN',
      { repo: 'user/other' },
      'does not exist or is private (401, no token',
      'check the name',
    ],
    ['an unknown revision', 'HUB_NOT_FOUND', { revision: 'v9' }, 'has no revision "v9" (404)', '/tree/main'],
    [
      'an unknown folder',
      'HUB_NOT_FOUND',
      { saeId: 'blocks.0.hook_resid_post' },
      'has no cfg.json (404)',
      `did you mean "${SAE_ID}"?`,
    ],
    ['no repository’s name', 'USAGE', { repo: 'repo' }, 'a repository is named "owner/name"', undefined],
  ])('%s has its own message and next step', async (_, code, options, message, hint) => {
    const error = await failure(code as ErrorCode, options);
    expect(error.message).toContain(message);
    if (hint) expect(error.hint).toContain(hint);
  });

  it('an unknown repository, asked for with a token, is not there at all', async () => {
    const error = await failure('HUB_NOT_FOUND', { repo: 'user/other', token: TOKEN });
    expect(error.message).toContain('there is no such repository (404, the token of the token option was sent)');
  });

  it('names the variable of a token that was refused, never the token', async () => {
    vi.stubEnv('HF_TOKEN', TOKEN);
    hub.repos.get(REPO)!.token = 'hf_another';
    const error = await failure('HUB_TOKEN');
    expect(error.message).toContain('the token was refused (401, the token of HF_TOKEN was sent)');
    expect(JSON.stringify([error.message, error.hint, error.details, error.stack])).not.toContain(TOKEN);
  });

  it('a token that is none is not sent', async () => {
    vi.stubEnv('HF_TOKEN', 'abc');
    expect((await failure('HUB_TOKEN')).message).toBe(
      'Cannot use the token of HF_TOKEN: a token of the hub begins with "hf_"',
    );
    expect(hub.requests).toEqual([]);
  });

  it('a gated repository: where to ask for access', async () => {
    hub.repos.get(REPO)!.gated = true;
    const error = await failure('HUB_FORBIDDEN');
    expect(error.message).toContain('access is restricted (403');
    expect(error.hint).toContain(`ask for access at ${hub.url}/${REPO}`);
    expect(error.details).toMatchObject({ status: 403, request_id: 'request-1' });
  });
});

describe('a hub in trouble', () => {
  it.each([
    ['Retry-After', { 'Retry-After': '1' }],
    ['RateLimit', { RateLimit: '"api";r=0;t=1' }],
  ])('is given the time its %s asks for, and one is told of it', async (_, headers) => {
    hub.fault = first(1, /revision/, (__, response) => response.writeHead(429, headers).end());
    const [log, began] = [keepLog(), performance.now()];
    await get({ log });
    expect(performance.now() - began).toBeGreaterThan(990);
    expect(log.lines.join()).toContain('answered 429; waiting 1.0 s');
  });

  it('is asked again after 500 to 504, also in the middle of a file', async () => {
    const statuses = [500, 502, 503, 504];
    hub.fault = first(4, /resolve.*weights/, (_, response) => response.writeHead(statuses.shift() as number).end());
    expectWeights(await get());
    expect(statuses).toEqual([]);
  });

  it('is asked five times, not for ever; the error has the request’s id', async () => {
    hub.fault = first(99, /paths-info/, (_, response) => refuse(response, 503, null));
    const error = await failure('HUB_UNREACHABLE');
    expect(error.message).toContain('the hub answered 503 after 5 tries, request request-6');
    expect(hub.requests).toHaveLength(6);
  });

  it('is not waited for longer than a minute', async () => {
    hub.fault = first(1, /revision/, (_, response) => response.writeHead(429, { 'Retry-After': '3600' }).end());
    expect((await failure('HUB_BUSY')).message).toContain('answered 429 after 1 try');
  });

  it('that is not there is named', async () => {
    const error = await failure('HUB_UNREACHABLE', { hubUrl: 'http://127.0.0.1:9' });
    expect(error.message).toContain('http://127.0.0.1:9 did not answer as a hub does (fetch failed');
    expect(error.hint).toContain('HF_ENDPOINT');
  });

  /** Sends half of the weights and hangs up. */
  const cut: Parameters<typeof first>[2] = (_, response) => {
    const bytes = files[WEIGHTS]!;
    response.writeHead(200, { 'Content-Length': bytes.length });
    response.write(bytes.subarray(0, bytes.length / 2), () => setTimeout(() => response.destroy(), 50));
  };
  /** The first request of a file asks only for its size. */
  const isContent = (range: string | undefined): boolean => range !== 'bytes=0-0';

  it('that cuts a file is asked for the rest', async () => {
    let cuts = 0;
    hub.fault = (request, response) => {
      if (!request.url?.includes('weights') || !isContent(request.headers.range) || cuts++ > 0) return false;
      cut(request, response);
      return true;
    };
    const log = keepLog();
    expectWeights(await get({ log }));
    expect(log.lines.join()).toContain('was cut after');
    const ranges = hub.requests.filter(({ line }) => line.includes('weights')).map(({ range }) => range);
    expect(ranges.at(-1)).toMatch(/^bytes=[1-9]\d+-/);
  });

  it('that cuts every time is given up, and leaves no half file', async () => {
    hub.fault = (request, response) => {
      if (!request.url?.includes('weights') || !isContent(request.headers.range)) return false;
      cut(request, response);
      return true;
    };
    expect((await failure('HUB_UNREACHABLE')).message).toContain('did not answer as a hub does (terminated');
    expect(readdirSync(join(cacheDir, 'models--user--repo', 'blobs'))).toHaveLength(1);
  });

  it.each([
    ['damaged bytes', (bytes: Buffer) => Buffer.from(bytes).fill(7, 500, 600), 'arrived damaged'],
    ['too few bytes', (bytes: Buffer) => bytes.subarray(0, -5), 'ended after 3000002 of the 3000007 bytes'],
    ['too many bytes', (bytes: Buffer) => Buffer.concat([bytes, bytes]), 'is longer than the'],
  ])('%s never get a name in the cache', async (_, change, message) => {
    hub.fault = (request, response) => {
      if (!request.url?.includes('weights') || !isContent(request.headers.range)) return false;
      response.end(change(files[WEIGHTS]!));
      return true;
    };
    files[WEIGHTS] = safetensors({}, 2_999_997);
    hub.commit(REPO, files);
    expect((await failure('HUB_DAMAGED')).message).toContain(message);
    expect(readdirSync(join(cacheDir, 'models--user--repo', 'blobs'))).toHaveLength(1);
  });

  it.each([
    ['a file that comes', /weights/, (response: ServerResponse) => response.writeHead(200).write('x')],
    ['a wait', /revision/, (response: ServerResponse) => response.writeHead(429, { 'Retry-After': '50' }).end()],
  ])('is left in order in the middle of %s: no half file', async (__, which, fault) => {
    const stop = new AbortController();
    hub.fault = (request, response) => {
      if (!which.test(request.url ?? '') || !isContent(request.headers.range)) return false;
      fault(response);
      setTimeout(() => stop.abort(), 50);
      return true;
    };
    const error = await failure('INTERRUPTED', { signal: stop.signal });
    expect(error.hint).toContain('run the same command again');
    expect(readdirSync(cacheDir, { recursive: true }).filter((name) => String(name).includes('incomplete'))).toEqual(
      [],
    );
  });

  it('that names other files than were asked for is not believed', async () => {
    hub.fault = first(1, /paths-info/, (_, response) => {
      const evil = ['../../x', '/etc/x', 'C:\\x', `${SAE_ID}/../../x`].map((path) => ({ type: 'file', path, size: 1 }));
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(evil));
    });
    expect((await failure('HUB_NOT_FOUND')).message).toContain('has no cfg.json');
    expect(hub.requests.some(({ line }) => line.includes('/resolve/'))).toBe(false);
  });

  it.each(['../x', '/x', 'a/../../b', 'C:\\x', 'a//b', 'a\0b'])('refuses %j as a folder', async (saeId) => {
    expect((await failure('USAGE', { saeId })).message).toContain('as a folder of a repository');
    expect(hub.requests).toEqual([]);
  });

  it.each(['../../../../../x', '/x', 'a/../b', '..', '', 'a\0b'])('refuses %j as a revision', async (revision) => {
    expect((await failure('USAGE', { revision })).message).toContain('as a revision of a repository');
    expect(hub.requests).toEqual([]);
  });
});

describe('a repository that holds what should not be taken', () => {
  const PICKLED = { 'a/cfg.json': Buffer.from('{}'), 'a/sae_weights.pt': Buffer.from('pickle') };
  const list = (options: DownloadOptions = {}) => listSaes(REPO, { cacheDir, hubUrl: hub.url, ...options });

  it('weights that are a pickle are refused and never fetched, with the way out', async () => {
    hub.commit(REPO, PICKLED);
    const error = await failure('PICKLE_REFUSED', { saeId: 'a' });
    expect(error.message).toContain('folder "a" has a/sae_weights.pt and no sae_weights.safetensors');
    expect(error.hint).toContain('save it anew with safetensors');
    expect(hub.asked(/resolve/)).toEqual([]);
  });

  it('a link is no file', async () => {
    hub.fault = first(1, /paths-info/, (_, response) => {
      const link = [{ type: 'symlink', path: `${SAE_ID}/cfg.json`, size: 9, oid: 'a'.repeat(40) }];
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(link));
    });
    expect((await failure('HUB_NOT_FOUND')).message).toContain('has no cfg.json');
    expect(hub.asked(/resolve/)).toEqual([]);
  });

  it('a link of git, whose bytes are a path, stays bytes', async () => {
    hub.commit(REPO, { ...files, [`${SAE_ID}/cfg.json`]: Buffer.from('/etc/passwd') });
    const folder = await get();
    expect(readFileSync(join(folder, 'cfg.json'), 'utf8')).toBe('/etc/passwd');
  });

  it('more than the disk has room for is refused before the first byte', async () => {
    hub.fault = first(1, /paths-info/, (_, response) => {
      const huge = ['cfg.json', 'sae_weights.safetensors'].map((name) => {
        return { type: 'file', path: `${SAE_ID}/${name}`, size: 2 ** 50, oid: 'a'.repeat(40) };
      });
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(huge));
    });
    const error = await failure('STORAGE');
    expect(error.message).toMatch(/it has 2251799813685248 bytes and \d+ are free/);
    expect(hub.asked(/resolve/)).toEqual([]);
  });

  it('names that lead out are left out of the list, and one is told', async () => {
    const evil = ['../../x', '/etc/x', 'C:\\x', 'a/../../b', 'a\u001b[2J'].map(
      (name) => `${name}/sae_weights.safetensors`,
    );
    hub.commit(REPO, { ...files, ...Object.fromEntries(evil.map((name) => [name, Buffer.alloc(8)])) });
    const log = keepLog();
    expect(await list({ log })).toEqual([{ folder: SAE_ID, bytes: files[WEIGHTS]?.length }]);
    expect(log.lines.join()).toContain('5 names that lead out of a folder are left out: "../../x');
    expect(log.lines.join()).not.toContain('\u001b');
  });

  it('of more than ten thousand files the first ten thousand are looked through, page by page', async () => {
    const many = Array.from({ length: 10_050 }, (_, i) => [`l.${i}/sae_weights.safetensors`, Buffer.alloc(1)]);
    hub.commit(REPO, Object.fromEntries(many));
    const log = keepLog();
    const saes = await list({ log });
    expect([saes.length, saes[10]?.folder]).toEqual([10_000, 'l.10']);
    expect(log.lines.join()).toContain('has more than 10000 files');
    expect(hub.asked(/tree/)).toHaveLength(11);
  });

  it('the list comes from the cache when the hub is not to be asked, or not there', async () => {
    await get();
    const there = [{ folder: SAE_ID, bytes: files[WEIGHTS]?.length }];
    await hub.close();
    const log = keepLog();
    expect(await list({ log })).toEqual(there);
    expect(log.lines.join()).toContain('the cache has it');
    expectWeights(await get());
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await list()).toEqual(there);
    await expect(list({ revision: 'v2' })).rejects.toMatchObject({ code: 'HUB_OFFLINE' });
  });
});
