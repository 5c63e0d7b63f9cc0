import uPlot from 'uplot';
import { compact, element, shown, svg } from '../../web/page/element.ts';
import { isDark } from '../../web/page/theme.ts';

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly slot: number;
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

export interface View {
  readonly smoothing: number;
  readonly log: boolean;
  /** Steps that are shown; null for all. */
  readonly window: readonly [number, number] | null;
}

/** Okabe and Ito's colours, which people who see few colours tell apart, on light and on dark. */
const COLOURS = {
  light: ['#0072b2', '#b34700', '#00795a', '#a3467d', '#6b5900', '#333333', '#2f6fb0', '#8c2d04'],
  dark: ['#56b4e9', '#e69f00', '#35c295', '#e39bc6', '#f0e442', '#e8eaed', '#8ab4f8', '#ff9d6b'],
} as const;
/** No line is told by its colour alone. */
const DASHES: readonly number[][] = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4, 4, 4], [1, 5], [14, 3]];
const HEIGHT = 190;
/** So few are drawn as points, too: of a single one there is no line. */
const FEW_POINTS = 20;

const colourOf = (slot: number): string => COLOURS[isDark() ? 'dark' : 'light'][slot % 8] as string;

/** A stroke as the chart draws it. */
export function swatch(slot: number): SVGElement {
  const stroke = {
    stroke: colourOf(slot),
    'stroke-width': 2,
    'stroke-dasharray': (DASHES[slot % 8] as number[]).join(' '),
  };
  const line = svg('line', { x1: 0, x2: 28, y1: 6, y2: 6, ...stroke });
  return svg('svg', { width: 28, height: 12, 'aria-hidden': 'true' }, line);
}

/** A chart of one metric: a figure with its caption, its curve, and every line's last value in words. */
export class Chart {
  readonly root: HTMLElement;
  readonly key: string;
  readonly #place = element('div');
  readonly #legend = element('ul', { class: 'legend' });
  readonly #onWindow: (window: readonly [number, number] | null) => void;
  #plot: uPlot | null = null;
  #shape = '';

  constructor(key: string, title: string, onWindow: (window: readonly [number, number] | null) => void) {
    this.key = key;
    this.#onWindow = onWindow;
    this.root = element('figure', { 'data-key': key, tabindex: '0', 'aria-label': title });
    this.root.append(element('figcaption', {}, title), this.#place, this.#legend);
    this.root.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
  }

  draw(lines: readonly Line[], view: View): void {
    this.root.hidden = lines.length === 0;
    const kept = view.log ? lines.map(positive) : lines;
    const tables = kept.flatMap((line): uPlot.AlignedData[] => {
      const raw: uPlot.AlignedData = [[...line.steps], [...line.values]];
      return view.smoothing > 0 ? [raw, [[...line.steps], smoothed(line.values, view.smoothing)]] : [raw];
    });
    const data = tables.length === 0 ? ([[]] as uPlot.AlignedData) : uPlot.join(tables);
    const shape = JSON.stringify([
      lines.map(({ name, slot, steps }) => [name, slot, steps.length < FEW_POINTS]),
      view.smoothing > 0,
      view.log,
      isDark(),
    ]);
    if (this.#plot === null || shape !== this.#shape) {
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(lines, view), data, this.#place);
      this.#shape = shape;
    } else this.#plot.setData(data, false);
    const steps = data[0];
    const [min, max] = view.window ?? [steps[0] ?? 0, steps.at(-1) ?? 1];
    this.#plot.setScale('x', { min, max: max === min ? min + 1 : max });
    this.#say(lines);
  }

  #say(lines: readonly Line[]): void {
    const said = lines.map((line) =>
      element(
        'li',
        { class: 'last' },
        swatch(line.slot),
        element('span', { class: 'who', title: line.name }, line.name),
        shown(line.values.at(-1)),
      ),
    );
    this.#legend.replaceChildren(...said);
  }

  /** Under the pointer, which moves over all charts at once: the values there. */
  #sayAt({ cursor, data }: uPlot, lines: readonly Line[], columns: number): void {
    for (const [i, item] of [...this.#legend.children].entries()) {
      const values = data[columns * (i + 1)] ?? [];
      const at = cursor.idx;
      const value = at === null || at === undefined ? lines[i]?.values.at(-1) : nearest(values, at);
      const where = at === null || at === undefined ? '' : ` at ${data[0][at]}`;
      if (item.lastChild !== null) item.lastChild.textContent = `${shown(value)}${where}`;
    }
  }

  #options(lines: readonly Line[], view: View): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const [text, grid] = isDark() ? ['#a4abb6', '#383d46'] : ['#565b64', '#d5d8de'];
    const axis = {
      stroke: text,
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid },
      font: `11px ${style.fontFamily || 'sans-serif'}`,
    };
    const series = lines.flatMap(({ name, slot, steps }): uPlot.Series[] => {
      const line = {
        label: name,
        stroke: colourOf(slot),
        dash: DASHES[slot % 8] as number[],
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
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: { sync: { key: 'runs' }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: view.log ? 3 : 1 } },
      axes: [
        axis,
        { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : compact(tick))) },
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
        setCursor: [(plot) => this.#sayAt(plot, lines, view.smoothing > 0 ? 2 : 1)],
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
    const windows: Record<string, readonly [number, number]> = {
      ArrowLeft: [min - span / 4, max - span / 4],
      ArrowRight: [min + span / 4, max + span / 4],
      '+': [min + span / 4, max - span / 4],
      '-': [min - span / 2, max + span / 2],
    };
    const window = windows[event.key];
    if (window === undefined) return;
    event.preventDefault();
    this.#onWindow(window);
  }
}

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
