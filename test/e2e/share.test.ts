import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLineForTests } from '../command-line.ts';
import { first, MockHub, refuse } from '../fixtures/mock-hub.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';

const TOKEN = 'hf_planted0123456789abcdef';
const ID = 'blocks.0.hook_resid_pre';
const METADATA = { sae_lens_version: '6.54.12', hook_name: ID };
const cli = commandLineForTests();
let hub: MockHub;
let env: Record<string, string | undefined>;

beforeAll(async () => {
  hub = await MockHub.start();
  env = { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HF_HUB_OFFLINE: undefined, HF_HOME: join(cli.folder, 'home') };
  writeSaeFolder(join(cli.folder, 'run/output'), { metadata: METADATA });
  writeFileSync(join(cli.folder, 'run/run.json'), '{}');
  // A checkpoint of SAELens' training: its scaling is not folded yet.
  writeSaeFolder(join(cli.folder, 'checkpoint'), { metadata: { ...METADATA, hook_name: 'blocks.1' } });
  writeFileSync(join(cli.folder, 'checkpoint/activation_scaler.json'), '{"scaling_factor": 0.5}');
});
afterAll(async () => hub.close());

const upload = (...words: string[]) => cli.run(['upload', '--repo', 'user/saes', ...words], { env });
const download = (...words: string[]) => cli.run(['download', 'user/saes', ...words], { env });

describe('sae-lens-ts upload and download', () => {
  it('a dry run lists files and sizes and sends nothing', async () => {
    const { code, stdout } = await upload('run', '--dry-run');
    expect(code).toBe(0);
    expect(stdout).toMatch(/blocks\.0\.hook_resid_pre\/sae_weights\.safetensors +0\.\d{3} MB/);
    expect(stdout).toContain('Nothing was sent. Run without --dry-run');
    expect(hub.repos.size).toBe(0);
  });

  it('share a run, and a checkpoint in the form that SAELens loads; the second time there is nothing to do', async () => {
    const { code, stdout, stderr } = await upload('run', 'checkpoint=blocks.1/folded');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`It is at ${hub.url}/user/saes`);
    expect(stderr).toContain('blocks.1/folded: bringing it into the form that SAELens loads');
    expect(hub.repos.get('user/saes')?.log).toEqual(['initial commit', 'Upload 2 SAEs']);
    expect(String(hub.files('user/saes').get('README.md'))).toContain('### `blocks.1/folded`');
    expect([...hub.files('user/saes').keys()].some((path) => path.includes('scaler'))).toBe(false);
    const again = await upload('run', 'checkpoint=blocks.1/folded');
    expect(again.stdout).toContain('Nothing to do: everything is there already');
  });

  it('list what is there and fetch it to a folder, also without the hub', async () => {
    const { stdout } = await download();
    expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual([ID, 'blocks.1/folded', '']);
    const { code, stdout: path } = await download(ID, '--to', 'there');
    expect([code, path]).toEqual([0, `${join(cli.folder, 'there')}\n`]);
    expect(readFileSync(join(cli.folder, 'there/sae_weights.safetensors'))).toEqual(
      readFileSync(join(cli.folder, 'run/output/sae_weights.safetensors')),
    );
    expect(readdirSync(cli.folder).filter((name) => name.includes('.tmp-'))).toEqual([]);
    const offline = await cli.run(['download', 'user/saes', ID, '--json'], { env: { ...env, HF_HUB_OFFLINE: '1' } });
    expect(JSON.parse(offline.stdout)).toMatchObject({ repo: 'user/saes', folder: ID });
  });

  it.each([
    ['upload without a repository', ['upload', 'run'], {}, 2, 'USAGE', 'sae-lens-ts'],
    ['a folder without an SAE', ['upload', '.=a', '--repo', 'user/x'], {}, 4, 'SAE_INVALID', 'give a run folder'],
    ['no token', ['upload', 'run', '--repo', 'user/x'], { HF_TOKEN: '' }, 4, 'HUB_TOKEN', 'hf auth login'],
    [
      'a token that may only read',
      ['upload', 'run', '--repo', 'user/x'],
      { HF_TOKEN: 'hf_read' },
      4,
      'HUB_FORBIDDEN',
      'hf auth login',
    ],
    [
      'a folder that is not there',
      ['download', 'user/saes', 'blocks.7'],
      {},
      4,
      'HUB_NOT_FOUND',
      'sae-lens-ts download user/saes',
    ],
    ['a repository that is not there', ['download', 'user/none', ID], {}, 4, 'HUB_NOT_FOUND', `/user/none`],
    [
      'a hub that is not there',
      ['download', 'user/new'],
      { HF_ENDPOINT: 'http://127.0.0.1:9' },
      4,
      'HUB_UNREACHABLE',
      'sae-lens-ts doctor --online',
    ],
    ['an empty cache', ['download', 'user/new'], { HF_HUB_OFFLINE: '1' }, 4, 'HUB_OFFLINE', 'unset HF_HUB_OFFLINE'],
  ])('%s ends with its own code and next step', async (_, words, more, exit, code, hint) => {
    const { code: exitCode, stdout } = await cli.run([...words, '--json'], { env: { ...env, ...more } });
    const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
    expect([exitCode, error.code]).toEqual([exit, code]);
    expect(error.hint).toContain(hint);
    expect(stdout).not.toContain(TOKEN);
  });

  it('another commit at the same time, twice: its own code, and nothing of ours in the repository', async () => {
    hub.fault = first(9, /commit/, (_, response) => refuse(response, 412, null, 'A commit has happened since.'));
    const { code, stderr } = await upload('run=blocks.2');
    hub.fault = () => false;
    expect(code).toBe(4);
    expect(stderr).toContain('error HUB_CONFLICT');
    expect(stderr).toContain('run the same command again');
    expect([...hub.files('user/saes').keys()].some((path) => path.startsWith('blocks.2'))).toBe(false);
  });

  it('under nohup a terminal that closes does not end it', async () => {
    let answer = (): void => {};
    const waits = new Promise<void>((seen) => {
      hub.fault = first(1, /preupload/, (_, response) => {
        answer = () => refuse(response, 503, null, 'Ask again.');
        seen();
      });
    });
    const ended = cli.shell('trap "" HUP; $CLI upload --repo user/saes run=blocks.4 & echo $! > pid; wait $!', env);
    await waits;
    process.kill(Number(readFileSync(join(cli.folder, 'pid'), 'utf8')), 'SIGHUP');
    await new Promise((next) => setTimeout(next, 200));
    answer();
    expect(await ended).toMatchObject({ code: 0, stdout: expect.stringContaining('It is at') });
    hub.fault = () => false;
  });

  it('Ctrl-C in the middle of a file ends it in order, with nothing half; the next run goes on', async () => {
    hub.fault = first(9, /PUT/, () => {});
    writeSaeFolder(
      join(cli.folder, 'large'),
      { d_sae: 64, metadata: METADATA },
      { W_enc: [4, 64], W_dec: [64, 4], b_enc: [64], b_dec: [4] },
    );
    const command = cli.start(['upload', '--repo', 'user/saes', 'large=blocks.3'], { env });
    while (hub.asked(/PUT/).length === 0 || !hub.requests.at(-1)?.line.startsWith('PUT')) {
      await new Promise((next) => setTimeout(next, 20));
    }
    process.kill(command.pid, 'SIGINT');
    const { code, stderr, seconds } = await command.ended;
    hub.fault = () => false;
    expect([code, stderr]).toEqual([
      130,
      expect.stringContaining('large files that have arrived are not sent or fetched again'),
    ]);
    expect(seconds).toBeLessThan(30);
    expect((await upload('large=blocks.3')).code).toBe(0);
    expect([...hub.files('user/saes').keys()]).toContain('blocks.3/sae_weights.safetensors');
  });
});
