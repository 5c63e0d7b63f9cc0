import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listingHash } from '../../../src/artifacts/listing-hash.ts';
import { writeSaeFolder } from '../../fixtures/sae-folder.ts';

it('the hash of a listing follows names and sizes, wherever the folder lies', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'listing-hash-'));
  for (const name of ['a', 'b']) writeSaeFolder(join(folder, name, 'deep'));
  const hash = await listingHash(join(folder, 'a'));
  expect(await listingHash(join(folder, 'b'))).toBe(hash);
  expect(await listingHash(join(folder, 'a', 'deep', 'cfg.json'))).toMatch(/^[0-9a-f]{64}$/);
  writeFileSync(join(folder, 'b', 'deep', 'cfg.json'), 'longer or shorter');
  expect(await listingHash(join(folder, 'b'))).not.toBe(hash);
  expect(await listingHash(join(folder, 'no'))).toBeNull();
});
