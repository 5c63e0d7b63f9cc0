import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { Context, curveKeyPair, Dealer, Router } from 'zeromq';
import type { SaeLensError } from '../../src/errors.ts';
import { Channel } from '../../src/worker/channel.ts';
import { program } from '../programs.ts';
import { workersForTests } from '../workers.ts';

const { start } = workersForTests();
const options = { secureBulk: true, heartbeat: { intervalMs: 2_000, timeoutMs: 20_000 }, sendTimeoutMs: 30_000 };
const failure = (promise: Promise<unknown>): Promise<SaeLensError> =>
  promise.then(
    () => expect.fail('it did not fail'),
    (error) => error,
  );

describe('a stranger on the socket (X1, X2)', () => {
  it.each(['ipc', 'tcp'] as const)('is turned away with no key and with its own key over %s', async (transport) => {
    const channel = await Channel.open({ ...options, transport });
    const received: string[] = [];
    const reading = (async () => {
      for await (const message of channel.control()) received.push(message.toString());
    })();
    const { control, server_key, public_key, secret_key } = channel.address;
    const stranger = curveKeyPair();
    const context = new Context();
    const dealer = (keys: { publicKey: string; secretKey: string } | undefined): Dealer =>
      new Dealer({
        context,
        linger: 0,
        routingId: 'worker',
        ...(keys && { curveServerKey: server_key, curvePublicKey: keys.publicKey, curveSecretKey: keys.secretKey }),
      });
    const peers = [dealer(undefined), dealer(stranger), dealer({ publicKey: public_key, secretKey: secret_key })];
    for (const [i, peer] of peers.entries()) {
      peer.connect(control);
      await peer.send(`from peer ${i}`);
      if (i < 2) await new Promise((resolve) => setTimeout(resolve, 300));
    }
    await expect.poll(() => received).toEqual(['from peer 2']);
    expect(channel.refused).toBeGreaterThan(0);
    for (const peer of peers) peer.close();
    await channel.close();
    await reading;
  });

  it('who took our place hears nothing: a worker talks only to the server whose key it was given (X2)', async () => {
    const channel = await Channel.open({ ...options, transport: 'tcp' });
    const { server_key, public_key, secret_key } = channel.address;
    const thief = curveKeyPair();
    // It takes whoever comes.
    const context = new Context();
    const place = new Router({ context, linger: 0, curveServer: true, curveSecretKey: thief.secretKey });
    await place.bind('tcp://127.0.0.1:*');
    const heard: string[] = [];
    const listening = (async () => {
      for await (const [, message] of place) heard.push(String(message));
    })();
    const ours = { curvePublicKey: public_key, curveSecretKey: secret_key };
    const peers = [server_key, thief.publicKey].map(
      (curveServerKey) => new Dealer({ context, linger: 0, curveServerKey, ...ours }),
    );
    for (const [i, peer] of peers.entries()) {
      peer.connect(place.lastEndpoint as string);
      await peer.send(`with key ${i}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    await expect.poll(() => heard).toEqual(['with key 1']);
    for (const socket of [...peers, place]) socket.close();
    await Promise.all([channel.close(), listening]);
  });

  it('does not even see an ipc socket of another user: its folder is private', async () => {
    const channel = await Channel.open({ ...options, transport: 'ipc' });
    const folder = dirname(channel.address.control.replace('ipc://', ''));
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    await channel.close();
    expect(() => statSync(folder)).toThrow('ENOENT');
  });
});

describe('a place where no sockets can be made', () => {
  const open = async (folder: string): Promise<SaeLensError> => {
    vi.stubEnv('TMPDIR', folder);
    try {
      return await failure(Channel.open({ ...options, transport: 'ipc' }));
    } finally {
      vi.unstubAllEnvs();
    }
  };

  it.each([
    ['whose path is too long for them', 'x'.repeat(110), true],
    ['that is not there', 'nowhere', false],
  ])('%s is named with the way out, and nothing is left in it', async (_, name, there) => {
    const outer = mkdtempSync(join(tmpdir(), 'place-'));
    const folder = join(outer, name);
    if (there) mkdirSync(folder);
    const error = await open(folder);
    expect(error).toMatchObject({ code: 'WORKER_START', hint: expect.stringContaining('TMPDIR') });
    expect(error.message).toContain(folder);
    expect(readdirSync(outer, { recursive: true })).toEqual(there ? [name] : []);
    rmSync(outer, { recursive: true });
  });
});

describe('a data message that is not what was announced (X3, X5)', () => {
  it('never reaches Arrow: 2000 mutations are refused in a child with a small heap', async () => {
    const args = ['--max-old-space-size=64', await program('fuzz-frames'), '1'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(stdout).toBe('2000\n');
  });

  it('never reaches Arrow with a right checksum either: a record-batch header that a peer made up is not read', async () => {
    const args = ['--max-old-space-size=64', await program('fuzz-frames'), '1', 'sealed'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const [same, all] = stdout.trim().split(' of ');
    expect(Number(all)).toBeGreaterThan(500);
    expect(same).toBe(all);
  });

  it.each([
    ['header', 0],
    ['schema', 1],
    ['record-batch header', 2],
    ['body', 3],
    ['checksum', 4],
  ])('with one byte changed in its %s ends the worker with PROTOCOL, and we live on', async (_, part) => {
    const worker = await start();
    const error = await failure(worker.request('raw_frame', { what: 'byte', part, offset: 17, xor: 127 }).result);
    expect(error).toMatchObject({ code: 'PROTOCOL' });
    expect(error.message).toContain('metrics plane');
    expect((await worker.ended)?.code).toBe('PROTOCOL');
  });

  it.each([1, 4, 6, 10_000])('of %i parts ends the worker with PROTOCOL, and we live on', async (n) => {
    const worker = await start();
    const error = await failure(worker.request('raw_frame', { what: 'parts', n }).result);
    expect(error).toMatchObject({ code: 'PROTOCOL' });
    expect((await worker.ended)?.code).toBe('PROTOCOL');
  });

  it.each(['metrics', 'up'])('with a gap before it on the %s plane ends the worker with PROTOCOL', async (plane) => {
    const worker = await start();
    const error = await failure(worker.request('raw_frame', { what: 'gap', plane }).result);
    expect(error.code).toBe('PROTOCOL');
    expect(error.message).toMatch(/Message 1 came where 0 was due/);
  });
});

describe('a control message that is not one (X4)', () => {
  it.each([
    ['no JSON', '{'],
    ['an unknown kind', '{"type":"nonsense","seq":1}'],
    ['a missing key', '{"type":"bye","seq":1}'],
    ['an unknown key', '{"type":"bye","seq":1,"metrics_seq":0,"up_seq":0,"x":1}'],
    [
      'a message out of its state',
      '{"type":"hello","seq":1,"version":1,"schema_hash":"","session":"","pid":1,"python":""}',
    ],
    ['a number out of order', '{"type":"event","seq":7,"id":1,"kind":"x","data":{}}'],
  ])('%s ends the worker with PROTOCOL', async (_, text) => {
    const worker = await start();
    const error = await failure(worker.request('garbage', { text }).result);
    expect(error.code).toBe('PROTOCOL');
    expect(await worker.ended).toBe(error);
  });
});
