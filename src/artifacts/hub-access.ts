import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import type { Logger } from '../log.ts';

const HUB_URL = 'https://huggingface.co';

/** Which hub, as whom, and where it says what it does. */
export interface HubOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string | undefined;
  /** Default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the token file of `hf auth login`. */
  token?: string | undefined;
  /** Default: HF_ENDPOINT, else huggingface.co. */
  hubUrl?: string | undefined;
  /** Where it says what it fetches or sends and why it waits; default: nowhere. */
  log?: Logger | undefined;
  /** Ends it in order. */
  signal?: AbortSignal | undefined;
}

/** What is being done, as messages say it. */
export type HubAction = 'get an SAE from' | 'list the SAEs of' | 'upload to';

/** A repository at a revision, as one that may ask for it sees it. */
export interface HubRepo {
  readonly type: 'model' | 'dataset';
  readonly name: string;
  readonly revision: string;
  readonly hubUrl: string;
  readonly token: { readonly value: string; readonly from: string } | null;
  readonly log: Logger | undefined;
  readonly signal: AbortSignal | undefined;
  readonly action: HubAction;
}

/** @throws SaeLensError USAGE for a name or revision that is none, HUB_TOKEN for a token that is none. */
export async function openRepo(
  type: HubRepo['type'],
  name: string,
  action: HubAction,
  { revision = 'main', token, hubUrl, log, signal }: HubOptions,
): Promise<HubRepo> {
  checkName(name, action);
  checkPath(revision, 'revision');
  const url = (hubUrl ?? (process.env.HF_ENDPOINT || HUB_URL)).replace(/\/+$/, '');
  return { type, name, revision, hubUrl: url, token: await findToken(token), log, signal, action };
}

/** What every function of the hub's client takes. It does not know HF_ENDPOINT, so the address is always given. */
export function access({ hubUrl, token }: HubRepo): { hubUrl: string; accessToken?: string } {
  return { hubUrl, ...(token === null ? {} : { accessToken: token.value }) };
}

/** The page of the repository. */
export const pageOf = ({ hubUrl, type, name }: HubRepo): string =>
  `${hubUrl}/${type === 'model' ? '' : 'datasets/'}${name}`;

/** Whether only the cache may be asked. */
export const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** What becomes part of a path in the cache or in a repository may only point downwards (faults H5). */
export function checkPath(path: string, what: 'folder' | 'revision'): void {
  if (isPathBelow(path)) return;
  throw new SaeLensError('USAGE', `Cannot use ${JSON.stringify(path)} as a ${what} of a repository`, {
    hint: 'give names with "/" between them, none of them "." or ".."',
  });
}

/** Whether a path of a repository stays in it on every system: `a/b`, not `/a`, `../a`, `C:\a`, `a//b`. */
export const isPathBelow = (path: string): boolean =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the purpose
  !/[\\\u0000-\u001f\u007f]|(^|\/)[A-Za-z]:/.test(path) &&
  path.split('/').every((part) => !['', '.', '..'].includes(part));

function checkName(name: string, action: HubAction): void {
  if (/^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(name) && !name.includes('..')) return;
  throw new SaeLensError('USAGE', `Cannot ${action} ${JSON.stringify(name)}: a repository is named "owner/name"`, {
    hint: 'the SAEs of a release are listed by `sae-lens-ts pretrained NAME`',
  });
}

/** The hub's client would not send what is no token of a hub. */
async function findToken(given: string | undefined): Promise<HubRepo['token']> {
  const home = process.env.HF_HOME || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const path = process.env.HF_TOKEN_PATH || join(home, 'token');
  const found: [from: string, value: string | undefined][] = [
    ['the token option', given],
    ['HF_TOKEN', process.env.HF_TOKEN],
    ['HUGGING_FACE_HUB_TOKEN', process.env.HUGGING_FACE_HUB_TOKEN],
    [path, await readFile(path, 'utf8').catch(() => undefined)],
  ];
  for (const [from, text] of found) {
    const value = text?.trim();
    if (!value) continue;
    if (value.startsWith('hf_')) return { value, from };
    throw new SaeLensError('HUB_TOKEN', `Cannot use the token of ${from}: a token of the hub begins with "hf_"`, {
      hint: 'make one at https://huggingface.co/settings/tokens, or remove this one for public repositories',
    });
  }
  return null;
}
