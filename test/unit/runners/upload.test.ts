import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ErrorCode, SaeLensError } from '../../../src/errors.ts';
import { downloadSaeFromHuggingface } from '../../../src/runners/download.ts';
import { namedSaes, type UploadOptions, uploadSaesToHuggingface } from '../../../src/runners/upload.ts';
import { MockHub } from '../../fixtures/mock-hub.ts';
import { keepLog } from '../../fixtures/quiet-log.ts';
import { writeSaeFolder } from '../../fixtures/sae-folder.ts';

const TOKEN = 'hf_planted0123456789abcdef';
const REPO = 'user/saes';
const ID = 'blocks.0.hook_resid_pre';
const METADATA = { sae_lens_version: '6.54.12', hook_name: ID, model_name: '/home/alice/models/tiny' };
let hub: MockHub;
let folder: string;

beforeEach(async () => {
  hub = await MockHub.start();
  folder = mkdtempSync(join(tmpdir(), 'upload-'));
  makeRun('run');
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_TOKEN', TOKEN);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'cache'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  rmSync(folder, { recursive: true });
});

/** A finished run, as training leaves it. */
function makeRun(name: string, metadata: object = METADATA): string {
  const run = join(folder, name);
  writeSaeFolder(join(run, 'output'), { metadata });
  writeFileSync(join(run, 'output', 'trainer_notes.txt'), 'mine');
  const runner = { model_name: '/home/alice/models/tiny', lr: 0.0003, secret: TOKEN, output_path: null };
  writeFileSync(join(run, 'output', 'runner_cfg.json'), JSON.stringify(runner));
  writeFileSync(join(run, 'run.json'), '{}');
  writeFileSync(join(run, 'metrics.jsonl'), '{"step":1,"metrics/l0":9}\n{"step":2,"metrics/l0":7}\n');
  return run;
}

const send = (saes: Record<string, string>, options: Partial<UploadOptions> = {}) =>
  uploadSaesToHuggingface(saes, { hf_repo_id: REPO, show_progress: false, ...options });
const failure = async (code: ErrorCode, saes: Record<string, string>, options: Partial<UploadOptions> = {}) => {
  const error = (await send(saes, options).catch((e: unknown) => e)) as SaeLensError;
  expect(error).toMatchObject({ code });
  return error;
};
const names = (): string[] => [...hub.files(REPO).keys()].sort();
const text = (path: string): string => String(hub.files(REPO).get(path));

describe('runs and SAE folders that are shared', () => {
  it('are in the repository after one commit, with a card; nothing but the files of an SAE leaves', async () => {
    const other = makeRun('other', { ...METADATA, hook_name: 'blocks.1' });
    const { url, sent, converted } = await send({ [ID]: join(folder, 'run'), 'blocks.1/deep': join(other, 'output') });
    expect(names()).toEqual(
      [
        '.gitattributes',
        'README.md',
        ...[ID, 'blocks.1/deep'].flatMap((id) =>
          ['cfg.json', 'runner_cfg.json', 'sae_weights.safetensors', 'sparsity.safetensors'].map((n) => `${id}/${n}`),
        ),
      ].sort(),
    );
    expect(hub.repos.get(REPO)?.log).toEqual(['initial commit', 'Upload 2 SAEs']);
    expect([url, sent.length, converted]).toEqual([`${hub.url}/${REPO}`, 9, []]);
    const weights = readFileSync(join(folder, 'run/output/sae_weights.safetensors'));
    expect(hub.files(REPO).get(`${ID}/sae_weights.safetensors`)?.equals(weights)).toBe(true);
  });

  it('leave secrets and the paths of this machine behind; the rest of their texts stays', async () => {
    await send({ [ID]: join(folder, 'run') });
    for (const name of ['cfg.json', 'runner_cfg.json']) {
      expect(text(`${ID}/${name}`)).not.toMatch(/alice|hf_planted/);
      expect(text(`${ID}/${name}`)).toContain('"model_name":"tiny"');
    }
    expect(JSON.parse(text(`${ID}/cfg.json`))).toMatchObject({ architecture: 'standard', d_sae: 8 });
    expect(text('README.md')).not.toMatch(/alice|hf_planted/);
    const clean = makeRun('clean', { ...METADATA, model_name: 'tiny' });
    await send({ clean });
    expect(text('clean/cfg.json')).toBe(readFileSync(join(clean, 'output/cfg.json'), 'utf8'));
  });

  it('are found again by our own download, equal', async () => {
    await send({ [ID]: join(folder, 'run') }, { hf_revision: 'v2' });
    const to = join(folder, 'there');
    expect(await downloadSaeFromHuggingface(REPO, ID, { revision: 'v2', to })).toBe(to);
    expect(readdirSync(to).sort()).toEqual(
      readdirSync(join(folder, 'run/output')).filter((n) => n !== 'trainer_notes.txt'),
    );
    expect(readFileSync(join(to, 'sparsity.safetensors'))).toEqual(
      readFileSync(join(folder, 'run/output/sparsity.safetensors')),
    );
  });

  it('that are there already are not sent again', async () => {
    await send({ [ID]: join(folder, 'run') });
    const asked = hub.requests.length;
    expect(await send({ [ID]: join(folder, 'run') })).toMatchObject({ sent: [], deleted: [] });
    expect(hub.requests.slice(asked).some(({ line }) => /PUT|preupload|commit\//.test(line))).toBe(false);
  });

  it('tell in the card what the run measured last', async () => {
    await send({ [ID]: join(folder, 'run') });
    expect(text('README.md')).toContain('| L0 | `7` |');
    expect(text('README.md')).toContain('| lr | `0.0003` |');
  });

  it('extend a card that is there; without add_default_readme it is left alone', async () => {
    hub.commit(REPO, { 'README.md': Buffer.from('# Ours\n') });
    await send({ [ID]: join(folder, 'run') }, { add_default_readme: false });
    expect(text('README.md')).toBe('# Ours\n');
    await send({ [ID]: join(folder, 'run') });
    expect(text('README.md')).toMatch(
      /^---\nlibrary_name: saelens\n[\s\S]*# Ours\n[\s\S]*### `blocks.0.hook_resid_pre`/,
    );
  });

  it.each([
    ['that is no YAML', '---\ntags: [a\n---\n# Ours\n'],
    ['that does not end', '---\ntags: [a]\n# Ours\n'],
    ['that is a list', '---\n- a\n---\n# Ours\n'],
  ])('leave front matter %s as it is, and say so', async (_, card) => {
    hub.commit(REPO, { 'README.md': Buffer.from(card) });
    const log = keepLog();
    await send({ [ID]: join(folder, 'run') }, { log, show_progress: true });
    expect(text('README.md').startsWith(card.trimEnd())).toBe(true);
    expect(text('README.md')).toContain('### `blocks.0.hook_resid_pre`');
    expect(log.lines.join('\n')).toMatch(/front matter that cannot be read \(.+\).*Mend its first lines there/);
  });

  it('on a new branch extend the card of main too, and do not ask to make what is there', async () => {
    hub.commit(REPO, { 'README.md': Buffer.from('# Ours\n') });
    const { sent } = await send({ [ID]: join(folder, 'run') }, { hf_revision: 'v2', dry_run: true });
    expect([sent.length, hub.repos.get(REPO)?.refs.has('v2')]).toEqual([5, false]);
    await send({ [ID]: join(folder, 'run') }, { hf_revision: 'v2' });
    const card = String(hub.files(REPO, 'v2').get('README.md'));
    expect(card).toContain('# Ours\n');
    expect(card).toContain("{ revision: 'v2' }");
    expect(text('README.md')).toBe('# Ours\n');
    expect(hub.asked(/repos\/create/)).toEqual([]);
  });

  it('are listed with their sizes by a dry run, which changes nothing', async () => {
    const { sent, commit } = await send({ [ID]: join(folder, 'run') }, { dry_run: true, hf_is_private_repo: true });
    expect(commit).toBeNull();
    expect(sent.map(({ path }) => path)).toContain('README.md');
    expect(hub.repos.size).toBe(0);
  });

  it('are listed by a dry run when no hub can be asked, too', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const log = keepLog();
    const { sent } = await send({ [ID]: join(folder, 'run') }, { dry_run: true, log, show_progress: true });
    expect(sent.map(({ path }) => path)).toContain('README.md');
    expect(log.lines.join('\n')).toContain(`what is in ${REPO} already is not known`);
    expect(hub.asked(/./)).toEqual([]);
  });

  it('say how far they are', async () => {
    const log = keepLog();
    const seen: number[] = [];
    await send({ [ID]: join(folder, 'run') }, { show_progress: true, log, onProgress: (p) => seen.push(p.sentBytes) });
    expect(log.lines.join()).toContain(`made the public repository ${hub.url}/${REPO}`);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
});

describe('another SAE under a name that is taken', () => {
  it('is refused unless it is forced; then what the old one had besides goes away', async () => {
    hub.commit(REPO, {
      [`${ID}/sae_weights.safetensors`]: Buffer.alloc(2_000, 1),
      [`${ID}/sparsity.safetensors`]: Buffer.from('old'),
      [`${ID}/notes.txt`]: Buffer.from('theirs'),
    });
    rmSync(join(folder, 'run/output/sparsity.safetensors'));
    const error = await failure('HUB_CONFLICT', { [ID]: join(folder, 'run') });
    expect(error.message).toContain(`it has another "${ID}/sae_weights.safetensors" already`);
    expect(error.hint).toContain('--force');
    const { deleted } = await send({ [ID]: join(folder, 'run') }, { force: true });
    expect(deleted).toEqual([`${ID}/sparsity.safetensors`]);
    expect(names()).toContain(`${ID}/notes.txt`);
  });
});

describe('what cannot be shared', () => {
  it.each([
    ['no SAE', 'USAGE', () => ({}), 'expected at least one SAE'],
    ['a name that leads out', 'USAGE', () => ({ '../x': folder }), 'expected a folder name'],
    ['the name of the card', 'USAGE', () => ({ 'README.md': join(folder, 'run') }), 'README.md is the name of a file'],
    ['the card in small letters, below', 'USAGE', () => ({ 'a/readme.MD': folder }), 'readme.MD is the name of a file'],
    ['the name of a file of an SAE', 'USAGE', () => ({ 'a/cfg.json': folder }), 'cfg.json is the name of a file'],
    ['what git reads', 'USAGE', () => ({ '.gitattributes': folder }), '.gitattributes is the name of a file'],
    [
      'a folder without an SAE',
      'SAE_INVALID',
      () => ({ a: folder }),
      'it has no cfg.json and no sae_weights.safetensors',
    ],
    ['a path that is not there', 'SAE_INVALID', () => ({ a: join(folder, 'nowhere') }), 'no such file'],
  ] as const)('%s is refused before anything is asked', async (_, code, saes, message) => {
    expect((await failure(code, saes() as Record<string, string>)).message).toContain(message);
    expect(hub.requests).toEqual([]);
  });

  it('a run that has not finished names its checkpoints', async () => {
    rmSync(join(folder, 'run/output'), { recursive: true });
    mkdirSync(join(folder, 'run/checkpoints'));
    const error = await failure('SAE_INVALID', { a: join(folder, 'run') });
    expect(error.message).toContain('the run has no finished SAE');
    expect(error.hint).toContain(join(folder, 'run/checkpoints'));
  });

  it('leaves no folder of ours behind', async () => {
    const ours = () => readdirSync(tmpdir()).filter((name) => name.startsWith('sae-lens-ts-upload-'));
    const before = ours();
    await failure('SAE_INVALID', { a: folder });
    expect(ours().filter((name) => !before.includes(name) && existsSync(join(tmpdir(), name, '0')))).toEqual([]);
  });
});

describe('folders on the command line', () => {
  it('are named by their hook, or as one says', async () => {
    const run = join(folder, 'run');
    expect(await namedSaes([run])).toEqual({ [ID]: run });
    expect(await namedSaes([`${run}=a/b`])).toEqual({ 'a/b': run });
    await expect(namedSaes(['=README.md'])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('it names no folder'),
    });
    await expect(namedSaes([run, join(run, 'output')])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(`Two SAEs would be named "${ID}"`),
    });
  });
});
