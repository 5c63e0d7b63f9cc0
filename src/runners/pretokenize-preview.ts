import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { freeSpace } from '../artifacts/free-space.ts';
import type { RunnerOptions } from '../config/index.ts';
import { bytes, compact, grouped } from '../format.ts';
import { placeOf } from './pretokenize.ts';
import { headerOf } from './pretokenize-in-terminal.ts';

const Progress = z.object({ n_documents: z.int(), n_tokens: z.int() });

/** What `pretokenize` would do, found out without starting anything. */
export interface PretokenizePreview {
  readonly fields: readonly (readonly [string, string])[];
  readonly facts: {
    readonly path: string;
    /** `new`, `unfinished` work that would be continued, `finished` when it is there, `taken` by something else. */
    readonly state: 'new' | 'unfinished' | 'finished' | 'taken';
    readonly documents_done: number;
    readonly free_bytes: number;
  };
}

export async function previewPretokenize(config: RunnerOptions['pretokenize']): Promise<PretokenizePreview> {
  const path = placeOf(config);
  const free_bytes = await freeSpace(path);
  const held = await readdir(path).catch(() => [] as string[]);
  const done = await progressIn(`${path}.partial`);
  const state = held.includes('pretokenize.json')
    ? 'finished'
    : held.length > 0
      ? 'taken'
      : done === null
        ? 'new'
        : 'unfinished';
  const words = {
    new: 'nothing is there yet',
    unfinished: `goes on after ${grouped(done?.n_documents ?? 0)} documents (${compact(done?.n_tokens ?? 0)} tokens), with the same options`,
    finished: 'a finished dataset is there; with the same options nothing is left to do',
    taken: 'holds other files: choose another save_path',
  };
  return {
    fields: [
      ...headerOf(config),
      ['state', words[state]],
      ['disk', `${bytes(free_bytes)} free; 4 bytes a token, twice that while it is made`],
    ],
    facts: { path, state, documents_done: done?.n_documents ?? 0, free_bytes },
  };
}

async function progressIn(folder: string): Promise<z.output<typeof Progress> | null> {
  try {
    return Progress.parse(JSON.parse(await readFile(join(folder, 'progress.json'), 'utf8')));
  } catch {
    return null; // what is there tells the worker, which refuses what it cannot go on with
  }
}
