import { expect, it } from 'vitest';
import { float32Rows, type Rows } from '../../../src/sae/rows.ts';

const rows = (given: unknown): Float32Array => float32Rows('encode', given as Rows, 2);

it('takes a Float32Array as it is, and rounds other numbers to float32', () => {
  const x = new Float32Array(4);
  expect(rows(x)).toBe(x);
  const expected = Float32Array.from([0.1, -2, Number.NaN, Number.NEGATIVE_INFINITY]);
  const [a, b, c, d] = [0.1, -2, Number.NaN, Number.NEGATIVE_INFINITY] as const;
  expect(rows(Float64Array.of(a, b, c, d))).toEqual(expected);
  expect(rows([a, b, c, d])).toEqual(expected);
  expect(rows([[a, b], Float64Array.of(c, d)])).toEqual(expected);
  expect(rows([])).toHaveLength(0);
});

it.each([
  ['an Int32Array', new Int32Array(4)],
  ['a Uint16Array', new Uint16Array(4)],
  ['a BigInt64Array', new BigInt64Array(4)],
  ['an ArrayBuffer', new ArrayBuffer(8)],
  ['an Object', { length: Number.NaN }],
  ['a Promise', Promise.resolve(new Float32Array(2))],
  ['a string', '12'],
  ['a number', 2],
  ['undefined', undefined],
  ['null', null],
  ['3 numbers', new Float32Array(3)],
  ['1 numbers', [1]],
  ['row 1 of 1 numbers', [[1, 2], [3]]],
  ['row 0 with a string at 1', [[1, '2']]],
  ['numbers with undefined at 0', new Array(2)],
  ['numbers with a bigint at 1', [1, 2n]],
  ['a number', [[1, 2], 3]],
  ['1e+39, which is no float32,', [0, 1e39]],
])('refuses %s', (what, given) => {
  expect(() => rows(given)).toThrow(
    expect.objectContaining({
      code: 'USAGE',
      message: `Cannot encode ${what}: rows of 2 are needed`,
      hint: expect.stringContaining('Float32Array'),
    }),
  );
});
