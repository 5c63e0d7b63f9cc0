import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { pushDataset } from '../../src/artifacts/hub-dataset.ts';
import { downloadSae } from '../../src/artifacts/hub-download.ts';
import { ERROR_CODES, type SaeLensError } from '../../src/errors.ts';
import { MockHub, refuse } from '../fixtures/mock-hub.ts';

const SAE = { 'a/cfg.json': Buffer.from('{}'), 'a/sae_weights.safetensors': Buffer.alloc(3_000) };
const seen: string[] = [];
let hub: MockHub;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-faults-'));
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data/data.arrow'), Buffer.alloc(3_000, 1));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  hub = await MockHub.start();
  hub.commit('user/x', SAE);
  hub.commit('datasets/user/x', {});
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('HF_TOKEN', 'hf_planted0123456789abcdef');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

const download = () => downloadSae('user/x', 'a', { hubUrl: hub.url, cacheDir: mkdtempSync(join(folder, 'cache-')) });
const upload = () => pushDataset(join(folder, 'data'), { repo: 'user/x', hubUrl: hub.url });
/** Every request whose address matches is refused; with time to wait, so that a patient one is quick. */
const refusing = (which: RegExp, status: number, code: string | null = null, message = 'refused') => {
  hub.fault = (request, response) => {
    if (!which.test(`${request.method} ${request.url}`)) return false;
    response.setHeader('Retry-After', '0');
    refuse(response, status, code, message);
    return true;
  };
};
const cutting = (which: RegExp) => {
  hub.fault = (request, response) => {
    if (!which.test(`${request.method} ${request.url}`)) return false;
    response.destroy();
    return true;
  };
};

it.each([
  [
    'a token that is refused',
    download,
    () => refusing(/./, 401),
    'HUB_TOKEN',
    'the token was refused (401, the token of HF_TOKEN',
    'hf auth login',
  ],
  [
    'a gated repository',
    download,
    () => refusing(/./, 403, 'GatedRepo'),
    'HUB_FORBIDDEN',
    'access is restricted (403',
    'ask for access at',
  ],
  [
    'no repository',
    download,
    () => refusing(/./, 404, 'RepoNotFound'),
    'HUB_NOT_FOUND',
    'there is no such repository (404',
    'check the name at',
  ],
  [
    'no revision',
    download,
    () => refusing(/./, 404, 'RevisionNotFound'),
    'HUB_NOT_FOUND',
    'it has no revision "main" (404)',
    '/tree/main',
  ],
  [
    'no file',
    download,
    () => hub.commit('user/x', {}),
    'HUB_NOT_FOUND',
    'folder "a" has no cfg.json (404)',
    'no SAE of a format',
  ],
  [
    'too many requests',
    download,
    () => refusing(/resolve/, 429),
    'HUB_BUSY',
    'answered 429 after 5 tries, request request-',
    'in some minutes',
  ],
  [
    'a server in trouble',
    download,
    () => refusing(/paths-info/, 500),
    'HUB_UNREACHABLE',
    'answered 500 after 5 tries, request request-',
    'try again later',
  ],
  [
    'an answer nobody knows',
    download,
    () => refusing(/paths-info/, 418, null, 'I am a teapot'),
    'HUB',
    ': I am a teapot',
    'see http',
  ],
  [
    'a cut connection',
    download,
    () => cutting(/resolve.*weights/),
    'HUB_UNREACHABLE',
    'did not answer as a hub does',
    'sae-lens-ts doctor --online',
  ],
  [
    'a token that may not write',
    upload,
    () => refusing(/preupload/, 403, null, 'Read only.'),
    'HUB_FORBIDDEN',
    'the token may not write there (403, the token of HF_TOKEN was sent): Read only.',
    'hf auth login',
  ],
  [
    'a commit that is there',
    upload,
    () => refusing(/commit/, 409, null, 'Conflict.'),
    'HUB_CONFLICT',
    'changed it at the same time (409',
    'run the same command again',
  ],
  [
    'another commit in between',
    upload,
    () => refusing(/commit/, 412, null, 'Refresh.'),
    'HUB_CONFLICT',
    'changed it at the same time (412',
    'run the same command again',
  ],
  [
    'too many commits',
    upload,
    () => refusing(/commit/, 429),
    'HUB_BUSY',
    'answered 429 after 5 tries',
    'in some minutes',
  ],
  [
    'a storage in trouble',
    upload,
    () => refusing(/PUT/, 503),
    'HUB_UNREACHABLE',
    'answered 503 after 5 tries',
    'try again later',
  ],
  [
    'bytes that arrive otherwise',
    upload,
    () => refusing(/PUT/, 400, null, 'The content has another sha256.'),
    'HUB',
    ': The content has another sha256.',
    'see http',
  ],
  [
    'a storage that cuts',
    upload,
    () => cutting(/PUT/),
    'HUB_UNREACHABLE',
    'did not answer as a hub does',
    'sae-lens-ts doctor --online',
  ],
  [
    'no network, told so',
    upload,
    () => vi.stubEnv('HF_HUB_OFFLINE', '1'),
    'HUB_OFFLINE',
    'HF_HUB_OFFLINE is set',
    'unset HF_HUB_OFFLINE',
  ],
] as const)(
  '%s has its own code, message and next step',
  async (_, act, arrange, code, message, hint) => {
    arrange();
    const error = (await act().catch((e: unknown) => e)) as SaeLensError;
    expect(error).toMatchObject({ code, message: expect.stringContaining(message), exitCode: 4 });
    expect(error.hint).toContain(hint);
    expect(`${error.message} ${error.hint}`).not.toContain('planted');
    seen.push(error.message.replace(/request-\d+|127\.0\.0\.1:\d+/g, ''));
    expect(hub.files('datasets/user/x').size).toBe(0);
  },
  30_000,
);

it('no two of them say the same', () => {
  expect(new Set(seen).size).toBe(seen.length);
  expect(Object.keys(ERROR_CODES).filter((code) => code.startsWith('HUB')).length).toBeGreaterThan(8);
});
