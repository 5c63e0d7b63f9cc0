import type { About, LatentDetail, LatentTable } from '../format.ts';
import { chunkName, FEATURES_CALL, FEATURES_FORMAT } from '../layout.ts';

/** Pages of latents that stay in memory. */
const MOST_CHUNKS = 32;

type Take = (value: unknown) => void;
const waiting = new Map<Element | null, Take>();
const chunks = new Map<number, Promise<readonly LatentDetail[]>>();

// A page that is opened from disk may not fetch. It may run scripts, and each file of data is one that calls this.
(globalThis as unknown as Record<string, (kind: string, value: unknown) => void>)[FEATURES_CALL] = (_, value) =>
  waiting.get(document.currentScript)?.(value);

function load<T>(name: string): Promise<T> {
  const script = document.createElement('script');
  return new Promise<T>((done, fail) => {
    waiting.set(script, (value) => done(value as T));
    script.addEventListener('load', () => fail(new Error(`data/${name} holds no features`)));
    script.addEventListener('error', () => fail(new Error(`data/${name} is missing: copy the whole folder`)));
    script.src = `data/${name}`;
    document.head.append(script);
  }).finally(() => {
    waiting.delete(script);
    script.remove();
  });
}

/** What the folder is about, and the table of its latents. */
export async function loadFolder(): Promise<{ readonly about: About; readonly table: LatentTable }> {
  const about = await load<About>('about.js');
  if (about.format !== FEATURES_FORMAT)
    throw new Error(`The data are of format ${about.format}, this page of ${FEATURES_FORMAT}: make them anew`);
  return { about, table: await load<LatentTable>('latents.js') };
}

/** All of the latent in a row of the table. */
export async function loadLatent(row: number, latentsPerChunk: number): Promise<LatentDetail> {
  const number = Math.floor(row / latentsPerChunk);
  const chunk = chunks.get(number) ?? load<readonly LatentDetail[]>(chunkName(number));
  // The one that was asked for longest ago goes first.
  chunks.delete(number);
  chunks.set(number, chunk);
  for (const oldest of chunks.keys()) if (chunks.size > MOST_CHUNKS) chunks.delete(oldest);
  chunk.catch(() => chunks.delete(number));
  return (await chunk)[row % latentsPerChunk] as LatentDetail;
}
