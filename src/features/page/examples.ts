import { grouped } from '../../format.ts';
import { byId, element, shown } from '../../web/page/element.ts';
import type { Example, ExampleGroup } from '../format.ts';
import { type TextView, visible } from '../token.ts';

/** Of one example; the strongest are said in words. */
const MOST_SAID = 4;

/** A token with its activation, by colour and by the thickness of its underline; without one, plain. */
function tokenOf(text: string, value: number, maximum: number, view: TextView): HTMLElement {
  const token = element('span', { class: 'token' }, visible(text, view));
  if (value > 0) colour(token, value, maximum);
  return token;
}

/** Colours a token by its activation; by 0, not at all. */
export function colour(token: HTMLElement, value: number, maximum: number): void {
  token.classList.toggle('active', value > 0);
  const share = maximum > 0 ? Math.min(1, value / maximum) : 0;
  token.style.setProperty('--share', share.toFixed(3));
  token.dataset.tip =
    value > 0 ? `activation ${shown(value)} · ${Math.round(100 * share)} % of the maximum` : 'not active';
}

/** The examples of a latent, group by group. */
export function groups(all: readonly ExampleGroup[], maximum: number, view: TextView): HTMLElement[] {
  return all.map(({ name, low, count, examples }) => {
    const where = low === null ? `active in ${grouped(count)} sequences` : `${grouped(count)} tokens in this range`;
    const title = low === null ? 'Largest activations' : name;
    const items = examples.map((one) => exampleOf(one, maximum, view));
    return element(
      'section',
      { class: 'group' },
      element('h3', {}, title, ' ', element('small', {}, where)),
      element('ol', { class: 'examples' }, ...items),
    );
  });
}

function exampleOf(example: Example, maximum: number, view: TextView): HTMLElement {
  const { tokens, values, peak, sequence, position } = example;
  const made = tokens.map((text, i) => {
    const value = values[i] as number;
    const token = tokenOf(text, value, maximum, view);
    if (value > 0) token.tabIndex = -1;
    if (i === peak) token.classList.add('peak');
    return token;
  });
  // One stop of the Tab key for each example; arrows go on from there.
  const stop = made[peak];
  if (stop !== undefined) stop.tabIndex = 0;
  const words = tokens
    .map((text, i) => ({ text, value: values[i] as number }))
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, MOST_SAID)
    .map(({ text, value }) => `${visible(text, { marks: false, breaks: false }).trim()} ${shown(value)}`);
  return element(
    'li',
    { class: 'example' },
    element('span', { class: 'value', title: `sequence ${sequence}, token ${position}` }, shown(values[peak])),
    element('p', { class: 'text', dir: 'auto' }, ...made),
    element('span', { class: 'said' }, `Active on ${words.join(', ')}`),
  );
}

/** Lets arrows move over the active tokens of the examples inside, and shows what each has under pointer and keyboard. */
export function readable(place: HTMLElement): void {
  const tip = byId('tip');
  const hide = (): void => {
    tip.hidden = true;
  };
  const show = (target: EventTarget | null): void => {
    const token = target instanceof Element ? target.closest<HTMLElement>('[data-tip]') : null;
    if (token === null) {
      hide();
      return;
    }
    tip.replaceChildren(element('bdi', {}, token.textContent ?? ''), ` ${token.dataset.tip}`);
    tip.hidden = false;
    const { left, bottom, top } = token.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    const below = bottom + 6 + height < innerHeight;
    tip.style.setProperty('left', `${Math.max(4, Math.min(left, document.documentElement.clientWidth - width - 4))}px`);
    tip.style.setProperty('top', `${below ? bottom + 6 : top - height - 6}px`);
  };
  place.addEventListener('pointerover', ({ target }) => show(target));
  place.addEventListener('pointerleave', hide);
  place.addEventListener('focusin', ({ target }) => {
    show(target);
    if (target instanceof Element && target.matches('[data-tip]')) target.setAttribute('aria-describedby', 'tip');
  });
  place.addEventListener('focusout', ({ target }) => {
    hide();
    if (target instanceof Element) target.removeAttribute('aria-describedby');
  });
  addEventListener('scroll', hide, { passive: true });
  place.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (key === 'Escape' && !tip.hidden) {
      hide();
      event.stopPropagation();
    }
    const example = target instanceof Element ? target.closest('.example') : null;
    const next = example === null ? undefined : neighbour(example, target as HTMLElement, key);
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
}

function neighbour(example: Element, from: HTMLElement, key: string): HTMLElement | undefined {
  const active = [...example.querySelectorAll<HTMLElement>('.active')];
  const at = active.indexOf(from);
  if (key === 'ArrowRight') return active[at + 1];
  if (key === 'ArrowLeft') return active[at - 1];
  const other =
    key === 'ArrowDown' ? example.nextElementSibling : key === 'ArrowUp' ? example.previousElementSibling : null;
  return other?.querySelector<HTMLElement>('.peak') ?? undefined;
}
