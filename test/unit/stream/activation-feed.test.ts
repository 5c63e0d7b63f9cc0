import { describe, expect, it } from 'vitest';
import type { ColumnArray } from '../../../src/protocol/frames.ts';
import type { Column } from '../../../src/protocol/messages.ts';
import { ActivationFeed, type FedActivations } from '../../../src/stream/activation-feed.ts';

/** Where frames go: kept, each with what its arrays held when it was sent. */
function link(fail = false) {
  const seen = { columns: [] as Column[], frames: [] as { rows: number; arrays: ColumnArray[] }[], total: -1 };
  return {
    seen,
    open: async (columns: Column[]) => {
      seen.columns = columns;
      return {
        send: async (rows: number, arrays: readonly ColumnArray[]) => {
          if (fail) throw new Error('the worker is gone');
          seen.frames.push({ rows, arrays: arrays.map((array) => array.slice() as ColumnArray) });
        },
      };
    },
    end: async (frames: number) => {
      seen.total = frames;
    },
  };
}

const batch = (rows: number, dIn = 2, value = 0): FedActivations => ({
  rows,
  dIn,
  activation: new Float32Array(rows * dIn).fill(value),
});
const feedOf = (source: ConstructorParameters<typeof ActivationFeed>[0], dIn: number | null = null): ActivationFeed =>
  new ActivationFeed(source, { dIn, tokenIds: false });
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));

describe('ActivationFeed', () => {
  it('asks for a batch only when there is room for it, and for the next one when that is taken', async () => {
    let asked = 0;
    async function* batches() {
      for (;;) {
        asked++;
        yield batch(3);
      }
    }
    const feed = feedOf(batches(), null);
    const to = link();
    const pumping = feed.pump(to);
    await turn();
    expect(asked).toBe(0);
    feed.credit(2);
    await turn();
    expect([asked, to.seen.frames.length]).toEqual([2, 2]);
    feed.credit(1);
    await turn();
    expect([asked, to.seen.frames.length]).toEqual([3, 3]);
    await feed.close();
    await pumping;
    expect(to.seen.total).toBe(-1);
  });

  it('cuts a batch that is too large for a frame, and counts rows through', async () => {
    const rows = 2 ** 21 + 5;
    const activation = Float32Array.from({ length: rows * 4 }, (_, i) => i % 1000);
    const feed = feedOf([{ rows, dIn: 4, activation }, batch(0, 4), batch(2, 4, 7)], 4);
    const to = link();
    feed.credit(100);
    await feed.pump(to);
    expect(to.seen.frames.map((frame) => frame.rows)).toEqual([2 ** 20, 2 ** 20, 5, 2]);
    expect(to.seen.total).toBe(4);
    const [, second, third, last] = to.seen.frames;
    expect([second?.arrays[2]?.[0], third?.arrays[2]?.[4], last?.arrays[2]?.[1]]).toEqual([
      2n ** 20n,
      BigInt(rows - 1),
      BigInt(rows + 1),
    ]);
    expect(second?.arrays[3]?.[0]).toBe((2 ** 20 * 4) % 1000);
    expect(last?.arrays[3]).toEqual(new Float32Array(8).fill(7));
    expect(to.seen.columns.map(({ name, type, shape }) => [name, type, shape])).toEqual([
      ['token_id', 'int32', []],
      ['position', 'int32', []],
      ['sequence', 'int64', []],
      ['activation', 'float32', [4]],
    ]);
  });

  it('lets a producer use one array again and again', async () => {
    const activation = new Float32Array(2);
    function* batches() {
      for (let i = 0; i < 3; i++) yield { rows: 1, dIn: 2, activation: activation.fill(i) };
    }
    const feed = feedOf(batches(), null);
    const to = link();
    feed.credit(9);
    await feed.pump(to);
    expect(to.seen.frames.map((frame) => frame.arrays[3]?.[0])).toEqual([0, 1, 2]);
  });

  it('closes the iterator once, and does not wait for ever for one that hangs', async () => {
    let returned = 0;
    const hanging: AsyncIterable<FedActivations> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: () => {
          returned++;
          return new Promise(() => {});
        },
      }),
    };
    const feed = feedOf(hanging, null);
    void feed.pump(link());
    feed.credit(1);
    await turn();
    const began = performance.now();
    await feed.close();
    await feed.close();
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(returned).toBe(1);
  });

  it('ends quietly when its link breaks, and throws what its producer throws', async () => {
    const broken = feedOf([batch(1)], null);
    broken.credit(1);
    await broken.pump(link(true));
    const failure = new Error('no more film');
    // biome-ignore lint/correctness/useYield: it fails before its first batch
    const failing = (function* (): Generator<FedActivations> {
      throw failure;
    })();
    const feed = feedOf(failing, null);
    feed.credit(1);
    await expect(feed.pump(link())).rejects.toBe(failure);
  });

  it.each([['a word'], [undefined], [null], [0], [{ code: 7 }], [Symbol('off')], [() => 1], [Object.create(null)]])(
    'makes an error of what a producer throws that is none: %o',
    async (thrown) => {
      // biome-ignore lint/correctness/useYield: it fails before its first batch
      const failing = (async function* (): AsyncGenerator<FedActivations> {
        throw thrown;
      })();
      const feed = feedOf(failing);
      feed.credit(1);
      const error = await feed.pump(link()).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(/threw .+, which/) });
      expect((error as Error).cause).toBe(thrown);
    },
  );

  it.each<[string, () => never]>([
    [
      'at once',
      () => {
        throw new Error('cannot return');
      },
    ],
    ['later', (() => Promise.reject(new Error('cannot return'))) as () => never],
  ])('ends in peace when the iterator throws %s as it is told to end', async (_, giveBack) => {
    const source = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}), return: giveBack }) };
    const feed = feedOf(source);
    await feed.close();
  });

  it('refuses rows without token ids where the configuration leaves some out by them', async () => {
    const feed = new ActivationFeed([batch(2)], { dIn: null, tokenIds: true });
    feed.credit(1);
    await expect(feed.pump(link())).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const tokenId = new Int32Array(2);
    const whole = new ActivationFeed([{ ...batch(2), tokenId }], { dIn: null, tokenIds: true });
    whole.credit(2);
    await whole.pump(link());
  });
});
