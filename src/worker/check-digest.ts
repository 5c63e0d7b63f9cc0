import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { SaeLensError } from '../errors.ts';

/**
 * @throws SaeLensError SETUP_FAILED when the file is not, byte for byte, the one that was meant.
 */
export async function checkDigest(
  file: string,
  algorithm: 'sha256' | 'sha512',
  encoding: 'hex' | 'base64',
  expected: string,
): Promise<void> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  const digest = hash.digest(encoding);
  if (digest !== expected) {
    throw new SaeLensError('SETUP_FAILED', `${file} has ${algorithm} ${digest}, expected ${expected}`, {
      hint: 'The registry or a proxy gave another file than the pinned one; delete it and try again',
      details: { file, digest, expected },
    });
  }
}
