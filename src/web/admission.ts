import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { hostname, networkInterfaces } from 'node:os';
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';

/** Header in which the page proves that it, and no other site, asks for a change. */
export const REQUEST_HEADER = 'x-sae-lens-ts-request';
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** What a browser must show before it is answered, made from one secret. */
export interface Admission {
  /** Checks every request: where it was sent, from which page, and whether it comes from whoever has the secret. */
  readonly check: MiddlewareHandler;
  /** For the page alone: goes back in `REQUEST_HEADER` with every request that changes something. */
  readonly requestToken: string;
}

/**
 * A page on another site can make a browser ask us anything; only it cannot read the secret. So: the host that was asked
 * is ours (faults D2), the page that asks is ours (D3), the secret came once in the address and from then on in a cookie
 * that no script sees (D4), and who changes something says a word that only our page knows.
 *
 * @param secret in the address of the first request, as `?token=`
 * @param host the address that is listened on
 * @param port where that is known only later, a function
 * @param page whose own styles a browser may use, and no others
 */
export function admission(secret: string, host: string, port: () => number, page: string): Admission {
  const derived = (purpose: string): string => createHmac('sha256', secret).update(purpose).digest('base64url');
  const [session, requestToken] = [derived('session'), derived('request')];
  const names = namesOf(host);
  const headers = { ...HEADERS, 'Content-Security-Policy': contentSecurityPolicy(page) };

  const refusal = (c: Context): { status: 401 | 403 | 414; reason: string } | null => {
    const { req } = c;
    if (req.url.length > LONGEST_URL) return { status: 414, reason: `at most ${LONGEST_URL} characters of address` };
    const asked = req.header('host') ?? '';
    if (!names.some((name) => asked.toLowerCase() === `${name}:${port()}`)) {
      const reason = `the host "${asked}" is not this server's; to be asked by another name, start it with --host NAME`;
      return { status: 403, reason };
    }
    if (isForeign(c, asked)) return { status: 403, reason: 'another site asks; only the page of this server may' };
    // Cookies do not tell ports apart: two of these servers must not take each other's.
    const cookie = `sae-lens-ts-${port()}`;
    const given = req.path === '/' ? req.query('token') : undefined;
    if (given !== undefined && same(given, secret)) {
      setCookie(c, cookie, session, { httpOnly: true, sameSite: 'Strict', path: '/' });
    } else if (!same(getCookie(c, cookie) ?? '', session)) {
      return { status: 401, reason: 'open the address that was printed when this server started; it ends in ?token=…' };
    }
    if (req.method !== 'GET' && !same(req.header(REQUEST_HEADER) ?? '', requestToken)) {
      return { status: 403, reason: `a change needs the header ${REQUEST_HEADER} of the page` };
    }
    return null;
  };

  return {
    requestToken,
    check: async (c, next) => {
      for (const [name, value] of Object.entries(headers)) c.header(name, value);
      const refused = refusal(c);
      if (refused !== null) return c.text(`Refused: ${refused.reason}\n`, refused.status);
      await next();
    },
  };
}

const LONGEST_URL = 4096;

/** Nobody may frame, sniff or keep what is shown. */
const HEADERS = {
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** Nothing from elsewhere is loaded; a style that stands in the page counts by its hash. */
function contentSecurityPolicy(page: string): string {
  const hashes = [...page.matchAll(/<style>(.*?)<\/style>/gs)].map(
    ([, style = '']) => `'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  );
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src ${["'self'", ...hashes].join(' ')}`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** How a server that listens there may be called. */
function namesOf(host: string): string[] {
  if (LOOPBACK.includes(host)) return LOOPBACK;
  const own = Object.values(networkInterfaces()).flatMap((faces = []) => faces.map(({ address }) => address));
  return [...LOOPBACK, host, hostname(), ...own].map((name) => inAddress(name).toLowerCase());
}

/** An address of IPv6 stands in brackets. */
export const inAddress = (host: string): string => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host);

/** A person may follow a link to the page from anywhere; everything else is asked by the page itself. */
function isForeign({ req }: Context, host: string): boolean {
  const origin = req.header('origin');
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`) return true;
  const site = req.header('sec-fetch-site') ?? 'same-origin';
  if (site === 'same-origin' || site === 'none') return false;
  return !(req.method === 'GET' && req.path === '/' && req.header('sec-fetch-dest') === 'document');
}

/** Takes as long whatever the difference is. */
function same(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
