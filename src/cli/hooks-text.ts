import type { HookPoint } from '../runners/hooks.ts';
import { tableText } from './table.ts';

/** Sequences and tokens of the batch the shapes were seen with: any others would do. */
const BATCH = 2;
const POSITIONS = 7;

/** A row of the table: one hook point, or the same one of several layers. */
interface Row {
  before: string;
  layers: number[];
  after: string;
  shape: string;
  dIn: string;
}

/** The hook points whose name has the pattern in it; `*` stands for any letters. */
export function matchingHooks(hooks: readonly HookPoint[], pattern: string): HookPoint[] {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
  const expression = new RegExp(parts.join('.*'), 'i');
  return hooks.filter(({ name }) => expression.test(name));
}

/** A table of hook points, with a header; layers that are alike share a row unless `all` are wanted. */
export function hooksText(hooks: readonly HookPoint[], all: boolean): string {
  const rows = all ? hooks.map((hook) => rowOf(hook)) : collapse(hooks);
  const cells = rows.map((row) => [nameOf(row), row.shape, row.dIn]);
  return tableText([['hook point', 'shape', 'd_in'], ...cells], { right: [2] });
}

function collapse(hooks: readonly HookPoint[]): Row[] {
  const rows = new Map<string, Row>();
  for (const hook of hooks) {
    const row = rowOf(hook);
    const key = [row.before, row.after, row.shape, row.dIn, row.layers.length].join('\n');
    const alike = rows.get(key);
    if (alike === undefined) rows.set(key, row);
    else alike.layers.push(...row.layers);
  }
  return [...rows.values()];
}

function rowOf({ name, shape, d_in }: HookPoint): Row {
  const [, before = name, layer, after = ''] = /^(.*?\.)(\d+)((?:\.|$).*)$/.exec(name) ?? [];
  const sizes = shape.map((size, i) => {
    if (i === 0 && size === BATCH) return 'batch';
    return i > 0 && size === POSITIONS ? 'pos' : size;
  });
  const layers = layer === undefined ? [] : [Number(layer)];
  return { before, layers, after, shape: `[${sizes.join(', ')}]`, dIn: d_in === null ? '-' : String(d_in) };
}

function nameOf({ before, layers, after }: Row): string {
  if (layers.length < 2) return `${before}${layers.join('')}${after}`;
  const [first = 0] = layers;
  const isRange = layers.every((layer, i) => layer === first + i);
  return `${before}{${isRange ? `${first}…${layers.at(-1)}` : layers.join(',')}}${after}`;
}
