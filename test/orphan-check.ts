// Every file of tests ends with this: no process that it started, or that one of those started, is alive. Workers and
// commands that are marked for themselves are looked for by those who start them.
import { afterAll, expect } from 'vitest';
import { MARKER, newMarker, orphans } from './orphans.ts';

const marker = newMarker();
process.env[MARKER] = marker;
afterAll(async () => {
  expect(await orphans(marker), 'processes left behind').toEqual([]);
}, 10_000);
