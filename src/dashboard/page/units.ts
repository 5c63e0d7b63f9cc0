import { bytes } from '../../format.ts';
import { axisNumber, shown } from '../../web/page/element.ts';

/** How the values of a metric are said, and where their axis ends whatever they are. */
export interface Unit {
  readonly say: (value: number | null | undefined) => string;
  readonly tick: (value: number) => string;
  readonly range?: readonly [number, number];
}

const sayIf =
  (words: (value: number) => string) =>
  (value: number | null | undefined): string =>
    value === null || value === undefined ? shown(value) : words(value);
const percent = (value: number): string => `${Number((100 * value).toPrecision(3))} %`;

const PLAIN: Unit = { say: shown, tick: axisNumber };
/** Finer than elsewhere: memory that creeps up is to be seen. */
const memory = (value: number): string => bytes(value, 4);
const BYTES: Unit = { say: sayIf(memory), tick: memory };
const SHARE: Unit = { say: sayIf(percent), tick: percent, range: [0, 1] };

export const unitOf = (key: string): Unit =>
  key.endsWith('_bytes') ? BYTES : /^system\/\w+_share$/.test(key) ? SHARE : PLAIN;
