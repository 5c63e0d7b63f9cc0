/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a value of JSON may be taken for, wrongly. */
const VALUES = [null, true, -1, 0, 1e308, 2 ** 53, '', '../../x', 'float32', [], [null], {}, { __proto__: 1 }, [[[]]]];

/**
 * What damage makes of a file: cut off, a bit or a stretch of bytes changed, and of JSON a value of another kind. The same
 * seed gives the same damage.
 */
export function* mutations(whole: Buffer, count: number, seed: number): Generator<Buffer> {
  const random = randomNumbers(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const json = parsed(whole);
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.from(whole);
    const at = below(bytes.length);
    if (i % 4 === 0) yield bytes.subarray(0, at);
    else if (i % 4 === 1) {
      bytes[at] = (bytes[at] as number) ^ (1 << below(8));
      yield bytes;
    } else if (i % 4 === 2 || json === undefined) {
      for (let j = at; j < Math.min(bytes.length, at + 1 + below(16)); j++) bytes[j] = below(256);
      yield bytes;
    } else yield Buffer.from(JSON.stringify(withOneOther(json, below, VALUES[below(VALUES.length)])));
  }
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** The same value but for one place in it. */
function withOneOther(value: unknown, below: (n: number) => number, other: unknown): unknown {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const at = below(entries.length + 1);
  const [key, inner] = entries[at] ?? [];
  if (key === undefined) return other;
  const changed = withOneOther(inner, below, other);
  return Array.isArray(value) ? value.with(at, changed) : { ...(value as object), [key]: changed };
}
