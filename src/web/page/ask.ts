const token = document.querySelector<HTMLMetaElement>('meta[name="request-token"]')?.content ?? '';

/** Whether a server of ours gave this page, which fills in the token: from disk, or from another server, there is none. */
export const isServed = token !== '' && !token.startsWith('{{');

export interface Question {
  readonly parameters?: Readonly<Record<string, string>>;
  readonly method?: 'GET' | 'POST';
  /** Sent as JSON. */
  readonly body?: unknown;
}

/**
 * Asks the server of this page.
 *
 * @throws Error with what it says for people
 */
export async function ask<T>(path: string, { parameters = {}, method = 'GET', body }: Question): Promise<T> {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`, {
    method,
    headers: { 'x-sae-lens-ts-request': token, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const isJson = answer.headers.get('content-type')?.startsWith('application/json');
  const said = isJson ? await answer.json() : await answer.text();
  if (answer.ok) return said as T;
  const { message, hint } = isJson ? said.error : { message: said, hint: null };
  throw new Error(hint === null ? message : `${message} (${hint})`);
}
