import { element, shown } from '../../web/page/element.ts';
import type { LatentTable } from '../format.ts';
import { percent } from '../percent.ts';
import { ALONE, visible } from '../token.ts';

/** As in the style sheet. */
const ROW_PX = 46;
/** Rows above and below what is seen, so that there is something when it moves. */
const AROUND = 8;

/** The list of latents; of however many, only those in view are elements. */
export class LatentList {
  readonly #place: HTMLElement;
  readonly #list: HTMLElement;
  readonly #table: LatentTable;
  #rows: readonly number[] = [];
  #current: number | null = null;
  #isDue = false;

  constructor(place: HTMLElement, table: LatentTable) {
    this.#place = place;
    this.#list = place.firstElementChild as HTMLElement;
    this.#table = table;
    // What scrolls can be scrolled with the keyboard.
    place.tabIndex = 0;
    place.addEventListener('scroll', () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(place);
  }

  get rows(): readonly number[] {
    return this.#rows;
  }

  show(rows: readonly number[]): void {
    this.#rows = rows;
    this.#list.style.setProperty('height', `${rows.length * ROW_PX}px`);
    this.#place.scrollTop = 0;
    this.#draw();
  }

  /** Marks the latent that is open, and brings it into view where it is listed. */
  mark(row: number | null): void {
    this.#current = row;
    const place = row === null ? -1 : this.#rows.indexOf(row);
    if (place >= 0) {
      const [top, height] = [place * ROW_PX, this.#place.clientHeight];
      const { scrollTop } = this.#place;
      if (top < scrollTop || top + ROW_PX > scrollTop + height) this.#place.scrollTop = top - height / 3;
    }
    this.#draw();
  }

  #soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw(): void {
    const first = Math.max(0, Math.floor(this.#place.scrollTop / ROW_PX) - AROUND);
    const end = Math.min(
      this.#rows.length,
      Math.ceil((this.#place.scrollTop + this.#place.clientHeight) / ROW_PX) + AROUND,
    );
    const focused = document.activeElement?.getAttribute('data-row');
    const items = this.#rows.slice(first, end).map((row, n) => this.#item(row, first + n));
    this.#list.replaceChildren(...items);
    if (focused !== null && focused !== undefined)
      this.#list.querySelector<HTMLElement>(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
  }

  #item(row: number, place: number): HTMLElement {
    const { index, density, max_activation, top_tokens, positive_tokens } = this.#table;
    const number = index[row] as number;
    const link = element(
      'a',
      { href: `#latent=${number}`, 'data-row': `${row}` },
      element('span', { class: 'number' }, `${number}`),
      element('span', { class: 'tokens' }, ...tokensOf(top_tokens[row])),
      element('span', { class: 'value' }, percent(density[row] as number)),
      element('span', { class: 'tokens raised' }, ...raisedBy(positive_tokens[row])),
      element('span', { class: 'value quiet' }, `max ${shown(max_activation[row])}`),
    );
    if (row === this.#current) link.setAttribute('aria-current', 'true');
    const item = element('li', { 'aria-setsize': `${this.#rows.length}`, 'aria-posinset': `${place + 1}` }, link);
    item.style.setProperty('top', `${place * ROW_PX}px`);
    return item;
  }
}

/** Each token apart from its neighbours, whatever is in it. */
export const tokensOf = (tokens: readonly string[] = []): HTMLElement[] =>
  tokens.map((token) => element('bdi', { class: 'chip' }, visible(token, ALONE)));

const raisedBy = (tokens: readonly string[] = []): (HTMLElement | string)[] =>
  tokens.length === 0 ? [] : ['raises ', ...tokensOf(tokens)];
