import { grouped } from '../../format.ts';
import { element, shown } from '../../web/page/element.ts';
import type { About, LatentDetail, LatentTable } from '../format.ts';
import { percent } from '../percent.ts';
import { ALONE, type TextView, visible } from '../token.ts';
import { figure, meter } from './bars.ts';
import { groups } from './examples.ts';
import { tokensOf } from './latent-list.ts';

/** What a latent's page needs besides the latent. */
export interface Folder {
  readonly about: About;
  readonly table: LatentTable;
  /** Number of a latent → its row in the table. */
  readonly rows: ReadonlyMap<number, number>;
}

/** All there is to see of one latent. */
export function latentPage(folder: Folder, row: number, detail: LatentDetail, view: TextView): HTMLElement[] {
  const { about, table } = folder;
  const maximum = table.max_activation[row] as number;
  const facts = factsOf([
    ['density', percent(table.density[row] as number), oneIn(table.density[row] as number)],
    ['maximum', shown(maximum), 'activation'],
    ['mean', shown(table.mean_activation[row]), 'where it is active'],
    ['decoder norm', shown(table.decoder_norm[row]), ''],
  ]);
  const { activation_histogram, logit_histogram, positive_logits, negative_logits, similar, co_active } = detail;
  const plots = element('div', { class: 'columns' });
  if (activation_histogram.counts.length > 0)
    plots.append(figure(activation_histogram, { title: 'Activations, log scale', of: 'tokens' }));
  if (logit_histogram !== null)
    plots.append(figure(logit_histogram, { title: 'Effect on the logits', of: 'tokens of the vocabulary' }));
  const logits = element('div', { class: 'columns' });
  if (about.no_logits === null)
    logits.append(logitList('Raises', positive_logits, 'plus'), logitList('Lowers', negative_logits, 'minus'));
  else logits.append(element('p', { class: 'quiet' }, `No logits: ${about.no_logits}`));
  const near = element(
    'div',
    { class: 'columns' },
    neighbours('Similar', 'cosine of the decoder directions', similar, folder),
    neighbours('Active together', 'correlation of being active', co_active, folder),
  );
  const examples =
    detail.groups.length === 0
      ? [element('p', { class: 'quiet' }, `It was not active on any of ${grouped(about.n_tokens)} tokens.`)]
      : groups(detail.groups, maximum, view);
  return [facts, ...examples.slice(0, 1), plots, logits, near, ...examples.slice(1)];
}

/** Numbers with their names, and a word to each. */
export function factsOf(facts: readonly (readonly [name: string, value: string, note: string])[]): HTMLElement {
  return element(
    'dl',
    { class: 'facts' },
    ...facts.map(([name, value, note]) =>
      element('div', {}, element('dt', {}, name), element('dd', {}, value, ' ', element('small', {}, note))),
    ),
  );
}

const oneIn = (density: number): string =>
  density === 0 ? 'of these tokens' : `of tokens, one in ${grouped(Math.max(1, Math.round(1 / density)))}`;

function logitList(title: string, logits: LatentDetail['positive_logits'], kind: 'plus' | 'minus'): HTMLElement {
  const most = Math.max(...logits.map(([, value]) => Math.abs(value)), 1e-30);
  const items = logits.map(([token, value]) =>
    element(
      'li',
      {},
      element('bdi', { class: 'chip' }, visible(token, ALONE)),
      meter(Math.abs(value) / most, kind),
      element('span', { class: 'value' }, `${value > 0 ? '+' : ''}${shown(value)}`),
    ),
  );
  return element(
    'section',
    {},
    element('h3', {}, title, ' ', element('small', {}, 'logits, by one unit of activation')),
    element('ol', { class: 'measured' }, ...items),
  );
}

function neighbours(
  title: string,
  note: string,
  numbered: readonly (readonly [number, number])[],
  folder: Folder,
): HTMLElement {
  const items = numbered.map(([index, value]) => latentLine(index, value, Math.abs(value), folder));
  return element(
    'section',
    {},
    element('h3', {}, title, ' ', element('small', {}, note)),
    items.length === 0 ? element('p', { class: 'quiet' }, 'none') : element('ol', { class: 'measured' }, ...items),
  );
}

/** Another latent with a number for it; a link where the folder has it. */
export function latentLine(index: number, value: number, share: number, { table, rows }: Folder): HTMLElement {
  const row = rows.get(index);
  const name =
    row === undefined
      ? element('span', { class: 'number', title: 'not in this folder' }, `${index}`)
      : element('a', { class: 'number', href: `#latent=${index}` }, `${index}`);
  const tokens = row === undefined ? [] : tokensOf(table.top_tokens[row]);
  return element(
    'li',
    { class: 'other' },
    name,
    element('span', { class: 'tokens' }, ...tokens),
    meter(share, value < 0 ? 'minus' : 'plus'),
    element('span', { class: 'value' }, shown(value)),
  );
}
