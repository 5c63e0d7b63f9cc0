import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveDashboard } from '../../../src/dashboard/dashboard.ts';
import { RunStore } from '../../../src/dashboard/run-store.ts';
import type { LocalSite } from '../../../src/web/local-site.ts';

const runsFolder = mkdtempSync(join(tmpdir(), 'sae-lens-ts-dashboard-'));
const metrics = join(runsFolder, 'a run', 'metrics.jsonl');
const rows = (...steps: number[]): string => steps.map((step) => `{"step":${step},"losses/overall_loss":1}\n`).join('');
let site: LocalSite;
let [origin, cookie] = ['', ''];

async function enter(): Promise<void> {
  site = await serveDashboard({ runsFolder, page: '', files: new Map(), resume: async () => {}, port: 0 });
  const answer = await fetch(site.url);
  cookie = answer.headers.get('set-cookie')?.split(';')[0] as string;
  origin = new URL(site.url).origin;
}

beforeAll(async () => {
  mkdirSync(join(runsFolder, 'a run'));
  const record = { name: 'a run', created: 'now', sizes: { d_sae: 8 }, sessions: [{ ended: 'failed' }] };
  writeFileSync(join(runsFolder, 'a run', 'run.json'), JSON.stringify(record));
  const words = { code: 'NOT_FINITE', message: 'step 1', hint: 'Lower lr' };
  writeFileSync(join(runsFolder, 'a run', 'last-words.json'), JSON.stringify(words));
  writeFileSync(metrics, rows(0, 1));
  await enter();
});
afterAll(async () => {
  await site.close();
  rmSync(runsFolder, { recursive: true });
});

// biome-ignore lint/suspicious/noExplicitAny: the tests say what is in it
const ask = async (path: string): Promise<any> => (await fetch(`${origin}${path}`, { headers: { cookie } })).json();

interface Told {
  event: string;
  data: string;
  id: string;
}

/** What the server tells until one of these events; then the connection is lost. */
async function hear(until: string, follow: string, lastEventId?: string): Promise<Told> {
  const headers = { cookie, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) };
  const address = `${origin}/api/events?${new URLSearchParams({ follow })}`;
  const { body } = await fetch(address, { headers });
  let text = '';
  for await (const bytes of body ?? []) {
    text += Buffer.from(bytes).toString();
    const found = text
      .split('\n\n')
      .slice(0, -1)
      .find((one) => one.includes(`event: ${until}`));
    if (found === undefined) continue;
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(found)?.[1] ?? '';
    return { event: field('event'), data: field('data'), id: field('id') };
  }
  throw new Error(`never heard ${until} in ${text}`);
}
const steps = ({ data }: Told): number[] => JSON.parse(data).rows.map(({ step }: { step: number }) => step);

test('after a lost connection a page is told what it has not heard, and nothing twice', async () => {
  const { id, generation, offset } = await ask('/api/series?id=a%20run');
  const follow = `${encodeURIComponent(id)}@${generation}@${offset}`;
  appendFileSync(metrics, rows(2));
  const first = await hear('rows', follow);
  expect(steps(first)).toEqual([2]);
  appendFileSync(metrics, rows(3, 4));
  expect(steps(await hear('rows', follow, first.id))).toEqual([3, 4]);
});

test('a server that was started anew tells the page of the old one to load its runs again', async () => {
  const { id, generation, offset } = await ask('/api/series?id=a%20run');
  await site.close();
  await enter();
  const told = await hear('reload', `${encodeURIComponent(id)}@${generation}@${offset}`);
  expect(JSON.parse(told.data)).toEqual({ id: 'a run' });
});

test('a folder whose run.json says nothing is no run', async () => {
  mkdirSync(join(runsFolder, 'nothing'));
  writeFileSync(join(runsFolder, 'nothing', 'run.json'), '{}');
  const store = new RunStore(runsFolder);
  expect((await store.list()).map(({ id }) => id)).toEqual(['a run']);
});

test('of a run that failed the page is told what with, and of SAEs what their last evaluation found', async () => {
  const evaluation = { step: 9, 'sparsity/l0': 4, 'reconstruction_quality/explained_variance': 0.5 };
  appendFileSync(metrics, `${JSON.stringify({ ...evaluation, sae: 'k4' })}\n`);
  await hear('runs', '');
  const { facts, failure } = await ask('/api/run?id=a%20run');
  expect([facts.state, failure]).toEqual(['failed', { code: 'NOT_FINITE', message: 'step 1', hint: 'Lower lr' }]);
  const found = [{ sae: 'k4', l0: 4, explained_variance: 0.5, ce_loss_score: null }];
  await expect.poll(async () => (await ask('/api/runs')).runs[0].evaluated, { timeout: 10_000 }).toEqual(found);
});
