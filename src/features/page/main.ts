import { grouped } from '../../format.ts';
import { isServed } from '../../web/page/ask.ts';
import { byId, element } from '../../web/page/element.ts';
import { themeButton } from '../../web/page/theme.ts';
import type { TextView } from '../token.ts';
import { loadFolder, loadLatent } from './data.ts';
import { DensityFilter } from './density.ts';
import { readable } from './examples.ts';
import { type Folder, latentPage } from './latent.ts';
import { LatentList } from './latent-list.ts';
import { type Choice, LatentOrder, type SortKey } from './order.ts';
import { overview } from './overview.ts';
import { Prompt } from './prompt.ts';

const search = byId<HTMLInputElement>('search');
const where = byId<HTMLSelectElement>('where');
const sort = byId<HTMLSelectElement>('sort');
const order = byId<HTMLButtonElement>('order');
const place = byId('latent');

themeButton(byId('theme'), () => {});
byId('help').addEventListener('click', () => byId<HTMLDialogElement>('keys').showModal());
// The secret of a served page has become a cookie; it need not stay in the address, nor in the history.
if (isServed) history.replaceState(null, '', `/${location.hash}`);

start().catch((error: Error) => {
  place.replaceChildren(element('p', { role: 'alert' }, `Cannot show these features: ${error.message}`));
});

async function start(): Promise<void> {
  const { about, table } = await loadFolder();
  const folder: Folder = { about, table, rows: new Map(table.index.map((index, row) => [index, row])) };
  byId('subject').textContent =
    `${about.name} · ${about.model_name} · ${about.hook_name} · ${grouped(about.n_tokens)} tokens`;
  document.title = `${about.name} · features`;
  const view: { -readonly [K in keyof TextView]: TextView[K] } = { marks: false, breaks: false };
  const found = new LatentOrder(table);
  const list = new LatentList(byId('list'), table);
  const density = new DensityFilter(table.density, relist);
  const prompt = isServed ? new Prompt(byId('prompt'), folder, view) : null;
  let opened: number | null = null;

  function relist(): void {
    const choice: Choice = {
      search: search.value,
      where: where.value as Choice['where'],
      sort: sort.value as SortKey,
      smallestFirst: order.getAttribute('aria-pressed') === 'true',
      density: density.range,
    };
    const rows = found.rows(choice);
    list.show(rows);
    list.mark(opened);
    if (opened !== null) place.querySelector('.heading')?.replaceWith(heading(opened));
    const all = table.index.length;
    byId('count').textContent =
      rows.length === all ? `${grouped(all)} latents` : `${grouped(rows.length)} of ${grouped(all)}`;
  }

  /** Shows what the address says. */
  async function follow(): Promise<void> {
    const word = /^#latent=(\d+)$/.exec(location.hash)?.[1];
    const row = word === undefined ? undefined : folder.rows.get(Number(word));
    opened = row ?? null;
    document.body.dataset.view = word === undefined ? 'list' : 'latent';
    list.mark(opened);
    prompt?.open(row === undefined ? null : (table.index[row] as number));
    if (row === undefined) {
      place.replaceChildren(
        ...(word === undefined ? overview(about) : [element('p', { role: 'alert' }, `Latent ${word} is not here.`)]),
      );
      return;
    }
    const detail = await loadLatent(row, about.latents_per_chunk);
    // Somebody may have gone on meanwhile.
    if (opened === row) place.replaceChildren(heading(row), ...latentPage(folder, row, detail, view));
  }

  function heading(row: number): HTMLElement {
    const at = list.rows.indexOf(row);
    const step = (by: number, words: string, key: string): HTMLElement => {
      const button = element('button', { type: 'button', title: `key ${key}`, 'aria-keyshortcuts': key }, words);
      button.disabled = list.rows[at + by] === undefined;
      button.addEventListener('click', () => go(by));
      return button;
    };
    return element(
      'div',
      { class: 'heading' },
      element('a', { class: 'back', href: '#all' }, '‹ all latents'),
      element('h2', {}, `Latent ${table.index[row]}`),
      element('span', { class: 'steps' }, step(-1, '‹ previous', 'k'), step(1, 'next ›', 'j')),
      element('span', { class: 'toggles' }, toggle('line breaks', 'breaks'), toggle('whitespace', 'marks')),
    );
  }

  function toggle(words: string, name: keyof TextView): HTMLElement {
    const box = element('input', { type: 'checkbox' });
    box.checked = view[name];
    box.addEventListener('change', () => {
      view[name] = box.checked;
      prompt?.show(view);
      void follow().then(() => place.querySelector<HTMLElement>(`[data-toggle="${name}"] input`)?.focus());
    });
    return element('label', { 'data-toggle': name }, box, ` ${words}`);
  }

  /** To the next latent of the list, or the one before; from none, to the first. */
  function go(by: number): void {
    const at = opened === null ? -1 : list.rows.indexOf(opened);
    const row = list.rows[at < 0 ? 0 : at + by];
    if (row !== undefined) location.hash = `latent=${table.index[row]}`;
  }

  const open = (): void => {
    scrollTo({ top: 0 });
    follow().catch((error: Error) => place.replaceChildren(element('p', { role: 'alert' }, error.message)));
  };
  search.addEventListener('input', relist);
  search.addEventListener('keydown', (event) => {
    const first = list.rows[0];
    if (event.key === 'Enter' && first !== undefined) location.hash = `latent=${table.index[first]}`;
  });
  for (const one of [where, sort]) one.addEventListener('change', relist);
  order.addEventListener('click', () => {
    const isSmallest = order.getAttribute('aria-pressed') !== 'true';
    order.setAttribute('aria-pressed', `${isSmallest}`);
    order.textContent = isSmallest ? 'smallest first' : 'largest first';
    relist();
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId<HTMLDialogElement>('keys').open) return;
    const { key, target } = event;
    if (key === 'Escape') {
      if (target instanceof HTMLElement && target.matches('input, textarea')) return target.blur();
      location.hash = 'all';
    } else if (target instanceof HTMLElement && target.matches('input:not([type=checkbox]), textarea, select')) return;
    else if (key === 'j') go(1);
    else if (key === 'k') go(-1);
    else if (key === 'p') prompt?.focus();
    else if (key === '/') search.focus();
    else return;
    event.preventDefault();
  });
  addEventListener('hashchange', open);
  readable(byId('shown'));
  relist();
  await follow();
}
