import uPlot from 'uplot';
import { axisNumber, element } from '../../web/page/element.ts';
import { isDark } from '../../web/page/theme.ts';
import { colourOf, dashOf, swatch } from './strokes.ts';
import { unitOf } from './units.ts';

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly slot: number;
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

export type Window = readonly [from: number, to: number];

export interface View {
  readonly smoothing: number;
  readonly log: boolean;
  /** Steps that are shown: the same in all charts. */
  readonly window: Window;
}

const HEIGHT = 190;
/** So few are drawn as points, too: of a single one there is no line. */
const FEW_POINTS = 20;
/** Letters of a name; the rest is in its title. */
const MOST_LETTERS = 34;
/** As near as this to a line the pointer is on it, in pixels: the others step back. */
const NEAR = 24;

/** A chart of one metric: a figure with its caption, its curve, and every line's last value in words. */
export class Chart {
  readonly root: HTMLElement;
  readonly key: string;
  readonly #place = element('div');
  readonly #at = element('small');
  readonly #legend = element('ul', { class: 'legend' });
  readonly #onWindow: (window: Window | null) => void;
  #lines: readonly Line[] = [];
  #plot: uPlot | null = null;
  #shape = '';

  constructor(key: string, title: string, onWindow: (window: Window | null) => void) {
    this.key = key;
    this.#onWindow = onWindow;
    this.root = element('figure', { 'data-key': key, tabindex: '0', 'aria-label': title });
    this.root.append(element('figcaption', {}, title, this.#at), this.#place, this.#legend);
    this.root.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
  }

  draw(lines: readonly Line[], view: View): void {
    this.root.hidden = lines.length === 0;
    if (lines.length === 0) return;
    const kept = view.log ? lines.map(positive) : lines;
    this.#lines = kept;
    const tables = kept.flatMap((line): uPlot.AlignedData[] => {
      const raw: uPlot.AlignedData = [[...line.steps], [...line.values]];
      return view.smoothing > 0 ? [raw, [[...line.steps], smoothed(line.values, view.smoothing)]] : [raw];
    });
    const data = uPlot.join(tables);
    const shape = JSON.stringify([
      lines.map(({ name, slot, steps }) => [name, slot, steps.length < FEW_POINTS]),
      view.smoothing > 0,
      view.log,
      isDark(),
    ]);
    if (this.#plot === null || shape !== this.#shape) {
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(kept, view), data, this.#place);
      this.#shape = shape;
      this.#name(kept);
    } else this.#plot.setData(data, false);
    const [min, max] = view.window;
    this.#plot.setScale('x', { min, max: max === min ? min + 1 : max });
    this.#say(this.#plot);
  }

  #name(lines: readonly Line[]): void {
    const items = lines.map(({ name, slot }) =>
      element('li', { class: 'last' }, swatch(slot), element('span', { class: 'who', title: name }, short(name)), '–'),
    );
    this.#legend.replaceChildren(...items);
  }

  /** Every line's value under the pointer, which moves over all charts at once; without one the last. */
  #say({ cursor, data }: uPlot): void {
    const { say } = unitOf(this.key);
    const at = cursor.left !== undefined && cursor.left >= 0 ? cursor.idx : null;
    const columns = (data.length - 1) / this.#lines.length;
    this.#at.textContent = at === null || at === undefined ? '' : `step ${data[0][at]}`;
    for (const [i, line] of this.#lines.entries()) {
      const values = data[columns * (i + 1)] ?? [];
      const value = at === null || at === undefined ? line.values.at(-1) : nearest(values, at);
      const words = this.#legend.children[i]?.lastChild;
      if (words !== null && words !== undefined) words.textContent = say(value);
    }
  }

  #options(lines: readonly Line[], view: View): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const [text, grid] = isDark() ? ['#a4abb6', '#383d46'] : ['#565b64', '#d5d8de'];
    const axis = {
      stroke: text,
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid, size: 4 },
      font: `11px ${style.fontFamily || 'sans-serif'}`,
    };
    const { tick, range: ends } = unitOf(this.key);
    const series = lines.flatMap(({ name, slot, steps }): uPlot.Series[] => {
      const line = {
        label: name,
        stroke: colourOf(slot),
        dash: dashOf(slot),
        spanGaps: true,
        points: { show: steps.length < FEW_POINTS, size: 5 },
      };
      return view.smoothing > 0
        ? [
            { ...line, alpha: 0.3, width: 1 },
            { ...line, width: 2 },
          ]
        : [{ ...line, width: 1.5 }];
    });
    const range = (_: uPlot, low: number | null, high: number | null): uPlot.Range.MinMax =>
      ends !== undefined ? [...ends] : roomAround(low ?? 0, high ?? 1);
    return {
      ...this.#size(),
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: {
        sync: { key: 'runs', scales: ['x', null] },
        drag: { x: true, y: false },
        focus: { prox: lines.length > 1 && view.smoothing === 0 ? NEAR : -1 },
      },
      scales: { x: { time: false }, y: view.log ? { distr: 3 } : { range } },
      axes: [
        { ...axis, size: 26, gap: 2, values: (_, ticks) => ticks.map((step) => stepNumber(step)) },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((one) => (one === null ? '' : tick(one))) },
      ],
      series: [{ label: 'step' }, ...series],
      hooks: {
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width > 4) this.#onWindow([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]);
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [(plot) => this.#say(plot)],
        ready: [(plot) => plot.over.addEventListener('dblclick', () => this.#onWindow(null))],
      },
    };
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.#place.clientWidth), height: HEIGHT };
  }

  #onKey(event: KeyboardEvent): void {
    const { min, max } = this.#plot?.scales.x ?? {};
    if (min === undefined || max === undefined || min === null || max === null) return;
    const span = max - min;
    const windows: Record<string, Window> = {
      ArrowLeft: [min - span / 4, max - span / 4],
      ArrowRight: [min + span / 4, max + span / 4],
      '+': [min + span / 4, max - span / 4],
      '-': [min - span / 2, max + span / 2],
    };
    const window = windows[event.key];
    if (window === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#onWindow(window);
  }
}

const stepNumber = (step: number): string => (Number.isInteger(step) ? axisNumber(step) : '');

/** A line that stays at one value is not told from noise by an axis that is all of it. */
function roomAround(low: number, high: number): uPlot.Range.MinMax {
  if (high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high))) return uPlot.rangeNum(low, high, 0.1, true);
  const room = low === 0 ? 1 : Math.abs(low) / 2;
  return low === 0 ? [0, room] : [low - room, low + room];
}

/** Both ends of a long name tell runs apart. */
export const short = (name: string): string =>
  name.length <= MOST_LETTERS ? name : `${name.slice(0, MOST_LETTERS / 2 - 1)}…${name.slice(-MOST_LETTERS / 2)}`;

/** The value there, or the last one before it: lines of several runs have their own steps. */
function nearest(values: ArrayLike<number | null | undefined>, at: number): number | null {
  for (let i = at; i >= 0; i--) {
    const value = values[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

/** A log scale has no place for what is not above zero. */
function positive(line: Line): Line {
  const kept = line.values.flatMap((value, i) => (value > 0 ? [i] : []));
  return {
    ...line,
    steps: kept.map((i) => line.steps[i] as number),
    values: kept.map((i) => line.values[i] as number),
  };
}

/** Exponential moving average without the bias of its start. */
function smoothed(values: readonly number[], weight: number): number[] {
  let [sum, scale] = [0, 0];
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    scale = weight * scale + (1 - weight);
    return sum / scale;
  });
}
