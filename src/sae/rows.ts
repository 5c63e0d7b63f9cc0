import { SaeLensError } from '../errors.ts';

type Numbers = Float32Array | Float64Array | readonly number[];

/**
 * Rows of numbers: one after the other, or an array of rows. A Float32Array is taken as it is; everything else is
 * rounded to float32, the precision an SAE has. NaN and infinity stay what they are.
 */
export type Rows = Numbers | readonly Numbers[];

/**
 * The rows as float32, one after the other.
 *
 * @param width numbers in a row
 * @throws SaeLensError USAGE, for anything that is not rows of so many numbers
 */
export function float32Rows(op: 'encode' | 'decode', given: Rows, width: number): Float32Array {
  const refuse: Refuse = (what) => {
    throw new SaeLensError('USAGE', `Cannot ${op} ${what}: rows of ${width} are needed`, {
      hint: 'a Float32Array (or Float64Array, or array of numbers) of rows one after the other, or an array of such rows',
    });
  };
  if (!Array.isArray(given) || !given.some((row) => typeof row === 'object')) {
    const numbers = float32(given as Numbers, 'numbers', refuse);
    return numbers.length % width === 0 ? numbers : refuse(`${numbers.length} numbers`);
  }
  const rows = new Float32Array(given.length * width);
  for (const [n, row] of (given as Numbers[]).entries()) {
    const numbers = float32(row, `row ${n}`, refuse);
    if (numbers.length !== width) refuse(`row ${n} of ${numbers.length} numbers`);
    rows.set(numbers, n * width);
  }
  return rows;
}

type Refuse = (what: string) => never;

function float32(given: Numbers, name: string, refuse: Refuse): Float32Array {
  if (given instanceof Float32Array) return given;
  // Other typed arrays are refused: token ids or half-precision bits are no activations.
  if (!(given instanceof Float64Array) && !Array.isArray(given)) return refuse(kindOf(given));
  return Float32Array.from(given, (value: unknown, i) => {
    if (typeof value !== 'number') return refuse(`${name} with ${kindOf(value)} at ${i}`);
    const rounded = Math.fround(value);
    return Number.isFinite(rounded) || !Number.isFinite(value) ? rounded : refuse(`${value}, which is no float32,`);
  });
}

/** `undefined`, `a string`, `an Int32Array`: what a caller gave instead. */
function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  const kind = typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
  return `${/^[aeio]/i.test(kind) ? 'an' : 'a'} ${kind}`;
}
