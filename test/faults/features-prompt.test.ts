import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Command, commandLineForTests } from '../command-line.ts';
import { mutations } from '../mutations.ts';
import { isAlive } from '../orphans.ts';
import { tinyRun } from '../tiny-run.ts';

const HUNDRED_MB = 100 << 20;
const MOST_GROWTH_MB = 60;
const cli = commandLineForTests();
let server: Command;
let origin: string;
let headers: Record<string, string>;

interface Answer {
  readonly status: number;
  readonly body: string;
}

beforeAll(async () => {
  await cli.run(tinyRun('--name', 'seen'));
  const few = ['--n_tokens', '500', '--batch_size_prompts', '8'];
  server = cli.start(['features', 'runs/seen', '--serve', '--port', '0', ...few]);
  await server.saw('token=');
  const address = /http:\S+/.exec(server.stdout)?.[0] as string;
  const page = await fetch(address);
  origin = new URL(address).origin;
  headers = {
    cookie: String(page.headers.get('set-cookie')).split(';')[0] as string,
    'x-sae-lens-ts-request': /request-token" content="([^"]+)"/.exec(await page.text())?.[1] as string,
  };
  await works();
});
afterAll(async () => {
  server.child.kill('SIGINT');
  expect((await server.ended).code).toBe(0);
});

async function ask(body: string | Uint8Array<ArrayBuffer>): Promise<Answer> {
  const answer = await fetch(`${origin}/api/activations`, { method: 'POST', headers, body });
  return { status: answer.status, body: await answer.text() };
}

async function works(): Promise<void> {
  const { status, body } = await ask(JSON.stringify({ text: 'the lantern of the harbour', latent: 3 }));
  expect(status, body).toBe(200);
  const { tokens, values } = JSON.parse(body);
  expect(tokens.join('')).toContain('harbour');
  expect(values).toHaveLength(tokens.length);
}

function refused({ status, body }: Answer, expected: number): void {
  expect(status, body.slice(0, 200)).toBe(expected);
  expect(JSON.parse(body)).toMatchObject({ error: { code: 'USAGE', message: expect.any(String) } });
}

/** Sends so many bytes, as fast as they are taken, whether or not anybody wants them; gives what is answered. */
function flood(bytes: number, more: Record<string, string>): Promise<Answer | null> {
  const megabyte = Buffer.alloc(1 << 20, 'a');
  return new Promise((done) => {
    const sent = request(`${origin}/api/activations`, { method: 'POST', headers: { ...headers, ...more } });
    sent.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('end', () => {
        sent.destroy();
        done({ status: response.statusCode as number, body });
      });
    });
    sent.on('error', () => done(null));
    Readable.from(Array.from({ length: bytes >> 20 }, () => megabyte)).pipe(sent);
  });
}

const residentMB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024;

const good = { text: 'a bell', latent: null };
const BODIES: [string, string | Uint8Array<ArrayBuffer>][] = [
  ['nothing', ''],
  ['no JSON', 'text'],
  ['half of a JSON', JSON.stringify(good).slice(0, -3)],
  ['null', 'null'],
  ['a list', '[]'],
  ['no text', JSON.stringify({ latent: null })],
  ['no latent', JSON.stringify({ text: 'a' })],
  ['an empty text', JSON.stringify({ ...good, text: '' })],
  ['a text that is too long', JSON.stringify({ ...good, text: 'a'.repeat(10_001) })],
  ['a text that is a number', JSON.stringify({ ...good, text: 5 })],
  ['a text that is a list', JSON.stringify({ ...good, text: ['a'] })],
  ['half of a character', '{"text":"\\ud83d","latent":null}'],
  ['a latent below zero', JSON.stringify({ ...good, latent: -1 })],
  ['half a latent', JSON.stringify({ ...good, latent: 0.5 })],
  ['a latent in words', JSON.stringify({ ...good, latent: '3' })],
  ['a latent that is not there', JSON.stringify({ ...good, latent: 64 })],
  ['a latent without end', '{"text":"a","latent":1e400}'],
  ['another option', JSON.stringify({ ...good, device: 'cuda' })],
  ['a prototype', '{"__proto__":{"text":"a"},"latent":null}'],
  ['lists in lists', '['.repeat(60_000)],
  [
    'bytes that are no UTF-8',
    Uint8Array.from([...Buffer.from('{"text":"'), 0xff, 0xfe, ...Buffer.from('","latent":null}')]),
  ],
];

it.each(BODIES)('a prompt that is %s is refused with a code, and the next one is read', async (_, body) => {
  refused(await ask(body), 400);
  await works();
});

it('texts of every kind are read: the longest, controls, other scripts, what looks like special tokens', async () => {
  for (const text of [
    'a'.repeat(10_000),
    '🙂'.repeat(5000),
    '\0\u202e\ufffe',
    ' \n\t',
    '<s></s><|endoftext|><unk>',
    'שלום',
  ]) {
    const { status, body } = await ask(JSON.stringify({ text, latent: 63 }));
    expect(status, body.slice(0, 300)).toBe(200);
  }
});

it('damaged in 300 ways a prompt is read or refused, and nothing breaks', async () => {
  const whole = Buffer.from(JSON.stringify({ text: 'the lantern of the harbour', latent: 3 }));
  const statuses = new Set<number>();
  for (const body of mutations(whole, 300, 1)) {
    const { status, body: said } = await ask(Uint8Array.from(body));
    expect([200, 400, 413], said.slice(0, 300)).toContain(status);
    statuses.add(status);
  }
  expect(statuses).toContain(400);
  await works();
});

it('100 MB are refused, with and without a length, and take no memory', async () => {
  const before = residentMB();
  for (let round = 0; round < 3; round++) {
    const announced = await flood(HUNDRED_MB, { 'content-length': String(HUNDRED_MB) });
    const streamed = await flood(HUNDRED_MB, { 'transfer-encoding': 'chunked' });
    for (const answer of [announced, streamed]) refused(answer as Answer, 413);
  }
  expect(residentMB() - before).toBeLessThan(MOST_GROWTH_MB);
  await works();
});

it('twenty prompts at once are all read, each with its own answer', async () => {
  const before = residentMB();
  const words = Array.from({ length: 20 }, (_, n) => 'harbour '.repeat(n + 1));
  const answers = await Promise.all(words.map((text) => ask(JSON.stringify({ text, latent: null }))));
  const lengths = answers.map(({ status, body }) => {
    expect(status, body).toBe(200);
    const { tokens, n_left_out } = JSON.parse(body);
    return tokens.length + n_left_out;
  });
  const step = (lengths[1] as number) - (lengths[0] as number);
  expect(step).toBeGreaterThan(0);
  expect(lengths).toEqual(lengths.map((_, n) => (lengths[0] as number) + n * step));
  expect(residentMB() - before).toBeLessThan(MOST_GROWTH_MB);
});

it('whoever hangs up while it sends, or while the prompt is read, is nobody’s trouble', async () => {
  const [worker, said] = [cli.workerOf(server), server.stderr];
  for (let n = 0; n < 20; n++) {
    const body = JSON.stringify({ text: 'harbour '.repeat(1000), latent: null });
    const sent = request(`${origin}/api/activations`, {
      method: 'POST',
      headers: { ...headers, 'content-length': String(body.length) },
    });
    sent.on('error', () => {});
    sent.write(n % 2 === 0 ? body.slice(0, 100) : body);
    await new Promise((next) => setTimeout(next, 20));
    sent.destroy();
  }
  await works();
  expect(cli.workerOf(server)).toBe(worker);
  expect(isAlive(server.pid)).toBe(true);
  expect(server.stderr).toBe(said);
});
