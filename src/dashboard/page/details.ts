import { byId, bytes, element, shown, svg } from '../../web/page/element.ts';
import type { Histogram, RunDetails } from '../shown.ts';
import { act } from './server.ts';

const STATES = { running: '▶ running', done: '✓ done', stopped: '■ stopped', interrupted: '✕ interrupted' } as const;
/** A run's state in a sign and a word. */
export const stateOf = (state: keyof typeof STATES): string => STATES[state];

const HEIGHT = 12;
const WIDTH = 400;

/** Shows what there is of a run besides its curves, and how it differs from others that are shown. */
export function showDetails(details: RunDetails, others: readonly RunDetails[]): void {
  const { facts, advice, checkpoints, histograms, log } = details;
  byId('run').hidden = false;
  byId('run-name').textContent = facts.name;
  const who = facts.holder === null ? '' : ` · process ${facts.holder.pid} on ${facts.holder.host}`;
  const size = facts.sizes.d_in === undefined ? '' : ` · ${facts.sizes.d_in} → ${facts.sizes.d_sae} latents`;
  byId('run-state').textContent = `${stateOf(facts.state)}${who}${size} · since ${facts.created.slice(0, 19)}`;
  const isRunning = facts.state === 'running';
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-action]')) {
    button.disabled = button.dataset.action === 'resume' ? isRunning || facts.state === 'done' : !isRunning;
    button.onclick = () => void ask(details.id, button.dataset.action as string);
  }
  const said = advice.map(({ level, sae, seen, try: remedy }) =>
    element(
      'li',
      {},
      element('strong', {}, level === 'warning' ? '▲ warning ' : '● note '),
      `${sae === '' ? '' : `${sae}: `}${seen}. `,
      element('span', { class: 'quiet' }, `Try: ${remedy}`),
    ),
  );
  byId('advice').replaceChildren(
    ...(said.length > 0 ? said : [element('li', { class: 'quiet' }, 'nothing stands out')]),
  );
  byId('density').replaceChildren(...densityOverTime(histograms));
  showConfig(details, others);
  byId('checkpoints').replaceChildren(
    head('samples', 'written', 'size', 'folder'),
    element(
      'tbody',
      {},
      ...checkpoints.map((one) =>
        row(String(one.n_training_samples), one.created.slice(0, 19), bytes(one.bytes), one.path),
      ),
    ),
  );
  byId('log-lines').textContent = log
    .map(({ time, level, message }) => `${time.slice(11, 19)} ${level} ${message}`)
    .join('\n');
}

async function ask(id: string, what: string): Promise<void> {
  const answer = byId('answer');
  if (what === 'stop' && !window.confirm(`Stop ${id}? It finishes its step and saves a checkpoint.`)) return;
  answer.textContent = `${what} …`;
  try {
    await act(id, what);
    answer.textContent = what === 'resume' ? 'going on' : `asked to ${what}`;
  } catch (error) {
    answer.textContent = (error as Error).message;
  }
}

/** All options of one run, or those in which several are not the same. */
function showConfig(details: RunDetails, others: readonly RunDetails[]): void {
  const runs = [details, ...others];
  const keys = [...new Set(runs.flatMap(({ facts }) => Object.keys(facts.config)))];
  const words = (key: string): string[] => runs.map(({ facts }) => String(facts.config[key] ?? '–'));
  const kept = others.length === 0 ? keys : keys.filter((key) => new Set(words(key)).size > 1);
  byId('compared').textContent = others.length === 0 ? '' : `${kept.length} options differ of ${keys.length}`;
  const body = element('tbody', {}, ...kept.map((key) => row(key, ...words(key))));
  byId('config').replaceChildren(head('option', ...runs.map(({ facts }) => facts.name)), body);
}

const head = (...names: string[]): HTMLElement =>
  element('thead', {}, element('tr', {}, ...names.map((name) => element('th', { scope: 'col' }, name))));

function row(name: string, ...values: string[]): HTMLElement {
  const cells = values.map((value) => element('td', {}, value));
  return element('tr', {}, element('th', { scope: 'row' }, name), ...cells);
}

/** A row for each time, the darker the more latents have that density; dark to the left is dead. */
function densityOverTime(histograms: readonly Histogram[]): Node[] {
  const saes = [...new Set(histograms.map(({ sae }) => sae))];
  if (saes.length === 0)
    return [element('p', { class: 'quiet' }, 'none yet: the first comes after feature_sampling_window steps')];
  return saes.flatMap((sae) => {
    const rows = histograms.filter((one) => one.sae === sae);
    const low = Math.min(...rows.map(({ edges }) => edges[0] ?? 0));
    const high = Math.max(...rows.map(({ edges }) => edges.at(-1) ?? 0));
    const x = (log10: number): number => ((log10 - low) / (high - low || 1)) * WIDTH;
    const cells = rows.flatMap(({ counts, edges }, i) => {
      const most = Math.max(...counts);
      return counts.flatMap((count, bin) => {
        if (count === 0) return [];
        const [left, right] = [x(edges[bin] as number), x(edges[bin + 1] as number)];
        const place = { x: left, width: Math.max(1, right - left), y: i * HEIGHT, height: HEIGHT - 1 };
        return [svg('rect', { ...place, fill: 'currentColor', 'fill-opacity': 0.1 + (0.9 * count) / most })];
      });
    });
    const [first, last] = [rows[0] as Histogram, rows.at(-1) as Histogram];
    const label = `Density of the latents, log10 from ${shown(low)} to ${shown(high)}, step ${first.step} above to ${last.step} below`;
    const picture = svg(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${rows.length * HEIGHT}`, role: 'img', 'aria-label': label },
      ...cells,
    );
    return [picture as Node, element('p', { class: 'quiet' }, `${sae === '' ? '' : `${sae}: `}${label}`)];
  });
}
