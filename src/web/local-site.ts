import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { ExitCode, SaeLensError } from '../errors.ts';
import { admission, inAddress } from './admission.ts';

export type { Context, Hono } from 'hono';

/** A page served to this machine's browsers. */
export interface LocalSite {
  /** With the secret that opens it; whoever has it may do what the page can. */
  readonly url: string;
  /** Ends every connection. */
  close(): Promise<void>;
}

export interface LocalSiteOptions {
  /** The page at `/`; `REQUEST_TOKEN` in it becomes what its requests must carry. */
  readonly page: string;
  /** What the page loads, by its path: nothing else of the disk is served (faults D5). */
  readonly files: ReadonlyMap<string, SiteFile>;
  /** Adds what the page asks for. */
  readonly routes?: (app: Hono) => void;
  /** Address to listen on. */
  readonly host?: string | undefined;
  readonly port: number;
  /** Refuse rather than take the next free port. */
  readonly strictPort?: boolean | undefined;
}

export interface SiteFile {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export const REQUEST_TOKEN = '{{request-token}}';
/** Only this machine (faults D1). */
export const LOCAL_HOST = '127.0.0.1';
const PORTS_TRIED = 100;
const MOST_CONNECTIONS = 256;
const LARGEST_BODY_BYTES = 64 << 10;
const REQUEST_MS = 10_000;

/**
 * Serves a page on this machine.
 *
 * @throws SaeLensError USAGE when the port is taken (and the next hundred, unless `strictPort`), or the address is not
 * one of this machine
 */
export async function serveLocalSite(options: LocalSiteOptions): Promise<LocalSite> {
  const { page, files, routes, host = LOCAL_HOST } = options;
  const secret = randomBytes(24).toString('base64url');
  let port = 0;
  const { check, requestToken } = admission(secret, host, () => port, page);
  const app = new Hono();
  app.use(check);
  app.use(bodyLimit({ maxSize: LARGEST_BODY_BYTES, onError: tooLarge }));
  app.get('/', (c) => c.html(page.replace(REQUEST_TOKEN, requestToken)));
  for (const [path, { type, bytes }] of files) app.get(path, (c) => c.body(bytes, 200, { 'Content-Type': type }));
  routes?.(app);
  app.onError((error, c) => {
    const known = error instanceof SaeLensError;
    const { code, message, hint = null } = known ? error : new SaeLensError('BUG', error.message);
    return c.json({ error: { code, message, hint } }, known && error.exitCode !== ExitCode.bug ? 400 : 500);
  });

  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  server.maxConnections = MOST_CONNECTIONS;
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  port = await listen(server, options);
  return {
    url: `http://${inAddress(host === '0.0.0.0' || host === '::' ? LOCAL_HOST : host)}:${port}/?token=${secret}`,
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

function tooLarge(c: Context): Response {
  const message = `What was sent is larger than ${LARGEST_BODY_BYTES} bytes`;
  return c.json({ error: { code: 'USAGE', message, hint: null } }, 413);
}

/** On the port, or the next one that is free (faults D6). */
async function listen(server: Server, { host = LOCAL_HOST, port, strictPort }: LocalSiteOptions): Promise<number> {
  for (let tried = port; ; tried++) {
    try {
      await new Promise<void>((done, fail) => {
        server.once('error', fail);
        server.listen(tried, host, () => {
          server.off('error', fail);
          done();
        });
      });
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE' && !strictPort && tried + 1 < Math.min(port + PORTS_TRIED, 65_536)) continue;
      const isTaken = code === 'EADDRINUSE';
      throw new SaeLensError(
        'USAGE',
        `Cannot listen on ${inAddress(host)}:${tried}: ${isTaken ? 'it is taken' : message}`,
        {
          hint: isTaken ? 'choose another --port, or leave --strict_port out' : 'choose a --host of this machine',
          cause: error,
        },
      );
    }
  }
}
