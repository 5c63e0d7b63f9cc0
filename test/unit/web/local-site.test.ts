import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { REQUEST_HEADER } from '../../../src/web/admission.ts';
import { EventStreams } from '../../../src/web/event-stream.ts';
import { type LocalSite, type LocalSiteOptions, REQUEST_TOKEN, serveLocalSite } from '../../../src/web/local-site.ts';

const sites: LocalSite[] = [];
afterEach(async () => {
  await Promise.all(sites.splice(0).map((site) => site.close()));
});

async function serve(options: Partial<LocalSiteOptions> = {}): Promise<URL> {
  const site = await serveLocalSite({
    page: `<p>${REQUEST_TOKEN}</p>`,
    files: new Map([['/page.js', { type: 'text/javascript', bytes: new TextEncoder().encode('1') }]]),
    routes: (app) => {
      app.get('/data', (c) => c.json({ here: true }));
      app.post('/change', async (c) => c.json(await c.req.json()));
      app.get('/broken', () => {
        throw new Error('of ours');
      });
    },
    port: 0,
    ...options,
  });
  sites.push(site);
  return new URL(site.url);
}

interface Answer {
  status: number | undefined;
  headers: IncomingMessage['headers'];
  text: string;
}

/** `fetch` does not let a test say what Host and Origin are. */
async function ask(url: URL, headers: Record<string, string> = {}, method = 'GET', body = ''): Promise<Answer> {
  const asked = request(url, { method, headers }).end(body);
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode, headers: response.headers, text };
}

/** A browser that has opened the printed address: its cookie, and the word of the page. */
async function opened(url: URL): Promise<{ cookie: string; word: string }> {
  const { headers, text } = await ask(url);
  const [set = ''] = headers['set-cookie'] ?? [];
  return { cookie: set.split(';')[0] as string, word: /<p>(.*)<\/p>/.exec(text)?.[1] as string };
}
const at = (url: URL, path: string): URL => new URL(path, url.origin);

test('D1: a site listens on this machine only', async () => {
  const url = await serve();
  expect(url.hostname).toBe('127.0.0.1');
  const elsewhere = connect(Number(url.port), '127.0.0.2');
  const [error] = await once(elsewhere, 'error');
  expect(error.code).toBe('ECONNREFUSED');
});

test('D2: a request for another host is refused with the option that would allow it', async () => {
  const url = await serve();
  const { cookie } = await opened(url);
  const evil = await ask(at(url, '/data'), { host: `evil.example:${url.port}`, cookie });
  expect(evil).toMatchObject({ status: 403, text: expect.stringContaining('--host') });
  expect((await ask(at(url, '/data'), { host: `127.0.0.1:1`, cookie })).status).toBe(403);
  expect((await ask(at(url, '/data'), { host: `localhost:${url.port}`, cookie })).status).toBe(200);
});

test('D3: what another site asks is refused, whether it reads, listens or changes', async () => {
  const url = await serve();
  const { cookie, word } = await opened(url);
  const change = { cookie, [REQUEST_HEADER]: word, 'content-type': 'application/json' };
  expect((await ask(at(url, '/change'), change, 'POST', '{}')).status).toBe(200);
  expect((await ask(at(url, '/change'), { ...change, origin: 'http://evil.example' }, 'POST', '{}')).status).toBe(403);
  expect((await ask(at(url, '/change'), { ...change, 'sec-fetch-site': 'cross-site' }, 'POST', '{}')).status).toBe(403);
  expect((await ask(at(url, '/change'), { cookie }, 'POST', '{}')).status).toBe(403);
  expect((await ask(at(url, '/data'), { cookie, 'sec-fetch-site': 'same-site' })).status).toBe(403);
  const { headers } = await ask(at(url, '/data'), { cookie });
  expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
});

test('D3: a person may follow a link to the page from anywhere', async () => {
  const url = await serve();
  const navigation = { 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'document' };
  expect((await ask(url, navigation)).status).toBe(200);
  expect((await ask(at(url, '/data'), navigation)).status).toBe(403);
});

test('D4: the token of the address becomes a cookie that no script reads, and no page is told the address', async () => {
  const url = await serve();
  const { headers, text } = await ask(url);
  const [set = ''] = headers['set-cookie'] ?? [];
  expect(set).toMatch(/HttpOnly/);
  expect(set).toMatch(/SameSite=Strict/);
  const token = url.searchParams.get('token') as string;
  expect(set + text).not.toContain(token);
  expect(headers['referrer-policy']).toBe('no-referrer');
  expect(headers['content-security-policy']).toContain("default-src 'none'");
});

test('a style that stands in the page is allowed by its hash, any other is not', async () => {
  const policy = async (page: string): Promise<string> =>
    (await ask(await serve({ page }))).headers['content-security-policy'] as string;
  const hash = createHash('sha256').update('p { color: red }').digest('base64');
  expect(await policy('<style>p { color: red }</style>')).toContain(`style-src 'self' 'sha256-${hash}';`);
  expect(await policy('<p>')).toContain("style-src 'self';");
});

test('D4: without the token, with another one, or with the cookie of another server nothing is shown', async () => {
  const [url, other] = [await serve(), await serve()];
  const { cookie } = await opened(other);
  expect((await ask(at(url, '/'))).status).toBe(401);
  expect((await ask(at(url, '/?token=wrong'))).status).toBe(401);
  expect((await ask(at(url, '/page.js'))).status).toBe(401);
  expect((await ask(at(url, '/data'), { cookie })).status).toBe(401);
  const renamed = cookie.replace(other.port, url.port);
  expect((await ask(at(url, '/data'), { cookie: renamed })).status).toBe(401);
});

test('D5: paths out of the site, long addresses and large bodies are refused', async () => {
  const url = await serve();
  const { cookie, word } = await opened(url);
  for (const path of ['/../package.json', '/%2e%2e/package.json', '/..%2fpackage.json', '//etc/passwd', '/page.js/']) {
    const raw = connect(Number(url.port), url.hostname);
    raw.end(`GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`);
    let text = '';
    for await (const chunk of raw.setEncoding('utf8')) text += chunk;
    expect(text, path).toMatch(/^HTTP\/1.1 404/);
  }
  expect((await ask(at(url, `/data?${'x'.repeat(5_000)}`), { cookie })).status).toBe(414);
  const change = { cookie, [REQUEST_HEADER]: word };
  expect((await ask(at(url, '/change'), change, 'POST', 'x'.repeat(100_000))).status).toBe(413);
});

test('D5: of a hundred listeners 64 are served, those that take nothing are dropped, and others are answered', async () => {
  const streams = new EventStreams(300);
  let flood = (): void => {};
  const flooding = new Promise<void>((go) => {
    flood = go;
  });
  let ended = 0;
  const url = await serve({
    routes: (app) => {
      app.get('/events', (c) =>
        streams.answer(c, async (send, gone) => {
          await send({ event: 'first', data: '' });
          await flooding;
          while (!gone.aborted) await send({ event: 'much', data: 'x'.repeat(500_000) });
          ended++;
        }),
      );
      app.get('/data', (c) => c.json({ here: true }));
    },
  });
  const { cookie } = await opened(url);
  const answers: string[] = [];
  const listeners = Array.from({ length: 100 }, () => {
    const socket = connect(Number(url.port), url.hostname).on('error', () => {});
    socket.once('data', (bytes) => {
      answers.push(String(bytes).slice(9, 12));
      socket.pause();
    });
    socket.write(`GET /events HTTP/1.1\r\nHost: ${url.host}\r\nCookie: ${cookie}\r\n\r\n`);
    return socket;
  });
  await expect.poll(() => answers.length).toBe(100);
  expect(answers.filter((status) => status === '503')).toHaveLength(36);
  flood();
  await expect.poll(() => ended, { timeout: 10_000 }).toBe(64);
  expect((await ask(at(url, '/data'), { cookie })).status).toBe(200);
  for (const socket of listeners) socket.destroy();
});

test('D6: a port that is taken gives way to the next free one, or is refused where it is meant', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  const url = await serve({ port });
  expect(Number(url.port)).toBeGreaterThan(port);
  await expect(serve({ port, strictPort: true })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(`${port}: it is taken`),
  });
  holder.close();
});

test('what fails inside is an error with a code, and no stack', async () => {
  const url = await serve();
  const { cookie } = await opened(url);
  const { status, text } = await ask(at(url, '/broken'), { cookie });
  expect([status, JSON.parse(text)]).toEqual([500, { error: { code: 'BUG', message: 'of ours', hint: null } }]);
});
