import { byId, element, shown } from '../../web/page/element.ts';
import type { ListedRun } from '../shown.ts';
import { stateOf } from './details.ts';
import { swatch } from './strokes.ts';

export interface Chosen {
  /** Runs whose curves are shown. */
  readonly shown: readonly string[];
  /** The one whose details are shown. */
  readonly focused: string | null;
  readonly strokesOf: (id: string) => readonly number[];
  toggle(id: string): void;
  focus(id: string): void;
}

/** The runs that the filter lets through. */
export function filtered(runs: readonly ListedRun[]): ListedRun[] {
  const words = byId<HTMLInputElement>('filter').value.toLowerCase().split(/\s+/);
  return runs.filter(({ name, model, hook, architecture, state }) => {
    const about = `${name} ${model} ${hook} ${architecture} ${state}`.toLowerCase();
    return words.every((word) => about.includes(word));
  });
}

const items = new Map<string, Item>();

/** From run to run with the arrows, from box to box or from name to name: a long list has many stops for Tab. */
export function moveByArrows(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const { target } = event;
  const item = target instanceof HTMLElement ? target.closest('li') : null;
  if (step === undefined || item === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const next = step === 1 ? item.nextElementSibling : item.previousElementSibling;
  event.preventDefault();
  next?.querySelector<HTMLElement>(target instanceof HTMLInputElement ? 'input' : 'button')?.focus();
}

/** Draws the list. What stays in it stays the same element: a pointer and a keyboard find it where it was. */
export function showRuns(runs: readonly ListedRun[], chosen: Chosen): void {
  const kept = filtered(runs);
  for (const id of items.keys()) if (!runs.some((run) => run.id === id)) items.delete(id);
  const wanted = kept.map((run) => {
    const item = items.get(run.id) ?? new Item(run.id, chosen);
    items.set(run.id, item);
    item.show(run, chosen);
    return item.root;
  });
  const list = byId('runs');
  const none = runs.length === 0 ? 'no runs here yet; sae-lens-ts train makes one' : 'no run has all these words';
  const now = wanted.length > 0 ? wanted : [element('li', { class: 'quiet' }, none)];
  if (now.length !== list.children.length || now.some((one, i) => one !== list.children[i]))
    list.replaceChildren(...now);
  const running = runs.filter(({ state }) => state === 'running').length;
  const many = kept.length === runs.length ? `${runs.length}` : `${kept.length} of ${runs.length}`;
  byId('count').textContent = `${many}${running === 0 ? '' : ` · ${running} running`}`;
  document.title = `${running === 0 ? 'Runs' : `▶ ${running} running`} · sae-lens-ts`;
}

class Item {
  readonly root = element('li');
  readonly #box = element('input', { type: 'checkbox' });
  readonly #name = element('button', { type: 'button', class: 'name' });
  readonly #facts = element('span', { class: 'facts' });
  readonly #strokes = element('span', { class: 'strokes' });

  constructor(id: string, { toggle, focus }: Chosen) {
    this.root.append(this.#box, this.#name, this.#strokes, this.#facts);
    this.#box.addEventListener('change', () => toggle(id));
    this.#name.addEventListener('click', () => focus(id));
  }

  show(run: ListedRun, chosen: Chosen): void {
    const isShown = chosen.shown.includes(run.id);
    this.#box.checked = isShown;
    this.#box.setAttribute('aria-label', `curves of ${run.name}`);
    this.#name.textContent = run.name;
    if (run.id === chosen.focused) this.#name.setAttribute('aria-current', 'true');
    else this.#name.removeAttribute('aria-current');
    const steps = run.total_steps === null ? `step ${run.step}` : `step ${run.step} of ${run.total_steps}`;
    const numbers = `loss ${shown(run.loss)} · L0 ${shown(run.l0)} · EV ${shown(run.explained_variance)}`;
    const facts = `${stateOf(run.state)} · ${run.architecture} · ${steps} · ${numbers}`;
    if (this.#facts.textContent !== facts) this.#facts.textContent = facts;
    this.#strokes.replaceChildren(...(isShown ? chosen.strokesOf(run.id).map(swatch) : []));
  }
}
