import { byId, element, shown } from '../../web/page/element.ts';
import type { ListedRun } from '../shown.ts';
import { swatch } from './chart.ts';
import { stateOf } from './details.ts';

export interface Chosen {
  /** Runs whose curves are shown, with the slot of their strokes. */
  readonly slots: ReadonlyMap<string, number>;
  /** The one whose details are shown. */
  readonly focused: string | null;
  toggle(id: string): void;
  focus(id: string): void;
}

/** Draws the list; what has the keyboard keeps it. */
export function showRuns(runs: readonly ListedRun[], chosen: Chosen): void {
  const filter = byId<HTMLInputElement>('filter').value.toLowerCase();
  const kept = runs.filter(({ name, model, architecture }) =>
    `${name} ${model} ${architecture}`.toLowerCase().includes(filter),
  );
  const active = document.activeElement?.getAttribute('data-run');
  byId('runs').replaceChildren(...kept.map((run) => item(run, chosen)));
  if (kept.length === 0) byId('runs').append(element('li', { class: 'quiet' }, 'no runs here yet'));
  if (active !== null && active !== undefined)
    document.querySelector<HTMLElement>(`[data-run="${CSS.escape(active)}"]`)?.focus();
}

function item(run: ListedRun, { slots, focused, toggle, focus }: Chosen): HTMLElement {
  const slot = slots.get(run.id);
  const box = element('input', {
    type: 'checkbox',
    'aria-label': `curves of ${run.name}`,
    'data-run': `show ${run.id}`,
  });
  box.checked = slot !== undefined;
  box.addEventListener('change', () => toggle(run.id));
  const name = element('button', { type: 'button', class: 'name', 'data-run': `open ${run.id}` }, run.name);
  if (run.id === focused) name.setAttribute('aria-current', 'true');
  name.addEventListener('click', () => focus(run.id));
  const steps = run.total_steps === null ? `step ${run.step}` : `step ${run.step} of ${run.total_steps}`;
  const numbers = `loss ${shown(run.loss)} · L0 ${shown(run.l0)} · EV ${shown(run.explained_variance)}`;
  const facts = element(
    'span',
    { class: 'facts' },
    `${stateOf(run.state)} · ${run.architecture} · ${steps} · ${numbers} `,
  );
  if (slot !== undefined) facts.append(swatch(slot));
  return element('li', {}, box, name, facts);
}
