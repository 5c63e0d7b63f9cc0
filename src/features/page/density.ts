import { grouped } from '../../format.ts';
import { byId } from '../../web/page/element.ts';
import { percent } from '../percent.ts';
import { bars } from './bars.ts';

const BINS = 48;

/** How densities are spread over all latents, and the range of them that is listed. */
export class DensityFilter {
  readonly #low: number;
  readonly #width: number;
  readonly #dead: number;
  readonly #from = byId<HTMLInputElement>('density-from');
  readonly #to = byId<HTMLInputElement>('density-to');
  readonly #rects: readonly SVGElement[];
  readonly #onChange: () => void;

  constructor(densities: readonly number[], onChange: () => void) {
    this.#onChange = onChange;
    const logs = densities.filter((density) => density > 0).map(Math.log10);
    const least = logs.reduce((a, b) => Math.min(a, b), 0);
    const most = logs.reduce((a, b) => Math.max(a, b), least);
    this.#low = least;
    this.#width = (most - least || 1) / BINS;
    this.#dead = densities.length - logs.length;
    const counts = new Array<number>(BINS).fill(0);
    for (const log of logs) counts[this.#bin(log)]!++;
    const edges = Array.from({ length: BINS + 1 }, (_, i) => this.#edge(i));
    const word = (edge: number): string => percent(10 ** edge);
    const drawn = bars({ edges, counts }, { title: 'Density on a log scale', of: 'latents', word });
    this.#rects = [...drawn.querySelectorAll<SVGElement>('rect')];
    byId('density-bars').append(drawn);
    for (const [input, value] of [[this.#from, 0] as const, [this.#to, BINS] as const]) {
      input.min = '0';
      input.max = `${BINS}`;
      input.value = `${value}`;
      input.addEventListener('input', () => this.#set(Number(this.#from.value), Number(this.#to.value), input));
    }
    this.#brush(drawn);
    this.#say();
  }

  /** Densities that are listed, both ends too; with all there are, latents that were never active. */
  get range(): readonly [number, number] {
    const [from, to] = [Number(this.#from.value), Number(this.#to.value)];
    // The ends of the last bins are what rounding of logarithms would lose.
    return [from === 0 ? 0 : 10 ** this.#edge(from), to === BINS ? 1 : 10 ** this.#edge(to)];
  }

  readonly #bin = (log: number): number => Math.min(BINS - 1, Math.floor((log - this.#low) / this.#width));
  readonly #edge = (i: number): number => this.#low + i * this.#width;

  #set(from: number, to: number, moved: HTMLInputElement): void {
    // Whichever end is moved takes the other along.
    if (from >= to) {
      if (moved === this.#from) this.#to.value = `${Math.min(BINS, from + 1)}`;
      else this.#from.value = `${Math.max(0, to - 1)}`;
    }
    if (Number(this.#from.value) === BINS) this.#from.value = `${BINS - 1}`;
    if (Number(this.#to.value) === 0) this.#to.value = '1';
    this.#say();
    this.#onChange();
  }

  /** A drag takes what is between; a click, everything. */
  #brush(drawn: SVGElement): void {
    let start: number | null = null;
    const at = (event: PointerEvent): number => {
      const { left, width } = drawn.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - left) / width)) * BINS;
    };
    const take = (event: PointerEvent): void => {
      if (start === null) return;
      const [a, b] = [Math.min(start, at(event)), Math.max(start, at(event))];
      const isDrag = b - a > 0.5;
      this.#from.value = `${isDrag ? Math.floor(a) : 0}`;
      this.#to.value = `${isDrag ? Math.ceil(b) : BINS}`;
      this.#say();
      this.#onChange();
    };
    drawn.addEventListener('pointerdown', (event) => {
      start = at(event);
      drawn.setPointerCapture(event.pointerId);
    });
    drawn.addEventListener('pointermove', take);
    drawn.addEventListener('pointerup', (event) => {
      take(event);
      start = null;
    });
  }

  #say(): void {
    const [from, to] = [Number(this.#from.value), Number(this.#to.value)];
    for (const [i, rect] of this.#rects.entries()) rect.classList.toggle('out', i < from || i >= to);
    const [low, high] = [percent(10 ** this.#edge(from)), percent(10 ** this.#edge(to))];
    const dead = this.#dead === 0 || from > 0 ? '' : `, ${grouped(this.#dead)} never active`;
    const range = from === 0 && to === BINS ? 'of all latents' : `${low} to ${high}`;
    byId('density-range').textContent = `${range}${dead}`;
    this.#from.setAttribute('aria-valuetext', low);
    this.#to.setAttribute('aria-valuetext', high);
  }
}
