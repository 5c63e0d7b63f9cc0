import { byId, element } from '../../web/page/element.ts';
import { isDark, themeButton } from '../../web/page/theme.ts';
import type { ListedRun, RunDetails } from '../shown.ts';
import { Chart } from './chart.ts';
import { hideDetails, showDetails } from './details.ts';
import { Metrics } from './metrics.ts';
import { filtered, moveByArrows, showRuns } from './run-list.ts';
import { type Listed, runDetails } from './server.ts';
import { showTradeOff } from './trade-off.ts';

/** Charts that are always there, where a run has them. */
const CHARTS: readonly (readonly [key: string, title: string])[] = [
  ['losses/overall_loss', 'Loss'],
  ['metrics/explained_variance', 'Explained variance'],
  ['metrics/l0', 'L0'],
  ['model_performance_preservation/ce_loss_score', 'CE loss score'],
  ['sparsity/dead_features', 'Dead latents'],
  ['losses/mse_loss', 'MSE loss'],
  ['losses/l1_loss', 'L1 loss'],
  ['losses/auxiliary_reconstruction_loss', 'Auxiliary loss'],
  ['metrics/mean_log10_feature_sparsity', 'Mean log10 density'],
  ['details/current_learning_rate', 'Learning rate'],
  ['system/tokens_per_s', 'Tokens a second'],
  ['system/lm_share', 'Share of time: language model'],
  ['system/sae_share', 'Share of time: SAE'],
  ['system/data_share', 'Share of time: data and mixing'],
  ['system/rss_bytes', 'Memory of the worker'],
  ['system/gpu_bytes', 'Memory of the GPU'],
];
const MOST_SHOWN = 8;
const REDRAW_MS = 60;
const DETAILS_MS = 3_000;

let runs: readonly ListedRun[] = [];
let focused: string | null = null;
/** Runs whose curves are shown, in the order in which they were chosen. */
let chosen: string[] = [];
const details = new Map<string, RunDetails>();
const charts = new Map<string, Chart>();
const smoothing = byId<HTMLInputElement>('smoothing');
const log = byId<HTMLInputElement>('log');
const metrics = new Metrics({ runs: onRuns, connection: onConnection }, draw);

for (const [key, title] of CHARTS) addChart(key, title);

function addChart(key: string, title: string): void {
  const chart = new Chart(key, title, (window) => metrics.zoom(window));
  charts.set(key, chart);
  byId('charts').append(chart.root);
}

let isDue = false;
let drawnAt = Number.NEGATIVE_INFINITY;
let listedStrokes = '';
/** At once, or a little after the last time; then once for all that came until then. */
function draw(): void {
  if (isDue) return;
  isDue = true;
  window.setTimeout(
    () => {
      [isDue, drawnAt] = [false, performance.now()];
      const view = { smoothing: Number(smoothing.value), log: log.checked, window: metrics.window };
      for (const chart of charts.values()) chart.draw(metrics.linesOf(chart.key, nameOf), view);
      byId('smoothed').textContent = view.smoothing === 0 ? 'off' : view.smoothing.toFixed(2);
      byId<HTMLButtonElement>('whole').disabled = metrics.zoomed === null;
      offerMore();
      sayWhatIsMissing();
      const strokes = `${isDark()} ${chosen.map(metrics.strokes.ofRun).join(' ')}`;
      if (strokes !== listedStrokes) list();
      listedStrokes = strokes;
    },
    drawnAt + REDRAW_MS - performance.now(),
  );
}

const nameOf = (id: string): string => runs.find((run) => run.id === id)?.name ?? id;

function sayWhatIsMissing(): void {
  const { reading } = metrics;
  const about = reading.map((id) => `${nameOf(id)}: rows at even distances, while all are being read`).join('; ');
  const none = chosen.length === 0 ? 'Tick a run to see its curves.' : 'No rows yet.';
  byId('reading').textContent = metrics.keys.length > 0 ? about : runs.length === 0 ? '' : none;
}

/** Metrics that have no chart yet. */
function offerMore(): void {
  const more = byId<HTMLSelectElement>('more');
  if (document.activeElement === more) return;
  const left = metrics.keys.filter((key) => !charts.has(key));
  if (more.options.length === left.length + 1) return;
  more.replaceChildren(
    element('option', { value: '' }, 'add a metric'),
    ...left.map((key) => element('option', { value: key }, key)),
  );
}

/** Of the run in focus what is new; of others, with which it is compared, what was not loaded yet. */
async function loadDetails(): Promise<void> {
  const wanted = chosen.filter((id) => id === focused || !details.has(id));
  if (focused !== null && !wanted.includes(focused)) wanted.push(focused);
  const found = await Promise.all(wanted.map((id) => runDetails(id).catch(() => null)));
  for (const one of found) if (one !== null) details.set(one.id, one);
  const one = focused === null ? undefined : details.get(focused);
  const others = chosen.filter((id) => id !== focused).flatMap((id) => details.get(id) ?? []);
  if (one !== undefined) showDetails(one, others);
}

function onRuns(listed: Listed): void {
  runs = listed.runs;
  byId('folder').textContent = listed.folder;
  leaveRemoved();
  // What goes on is what somebody who opens this wants to see, else the newest that has rows.
  const first = runs.find(({ state }) => state === 'running') ?? runs.find(({ step }) => step > 0) ?? runs[0];
  if (focused === null && first !== undefined) focus(first.id);
  list();
}

/** A run may be removed while somebody looks at it. */
function leaveRemoved(): void {
  const ids = new Set(runs.map(({ id }) => id));
  for (const id of details.keys()) if (!ids.has(id)) details.delete(id);
  if (focused !== null && !ids.has(focused)) {
    focused = null;
    hideDetails();
  }
  const left = chosen.filter((id) => ids.has(id));
  if (left.length < chosen.length) show(left);
}

function list(): void {
  showRuns(runs, { shown: chosen, focused, strokesOf: metrics.strokes.ofRun, toggle, focus });
  showTradeOff(filtered(runs));
}

function onConnection(problem: string | null): void {
  byId('connection').textContent = problem ?? 'connected';
  byId('connection').classList.toggle('lost', problem !== null);
}

function toggle(id: string): void {
  if (chosen.includes(id)) show(chosen.filter((one) => one !== id));
  else choose(id);
}

function focus(id: string): void {
  focused = id;
  if (chosen.includes(id)) show(chosen);
  else choose(id);
}

/** So many lie over each other at most; the one that was chosen first gives way. */
const choose = (id: string): void => show([...chosen, id].slice(-MOST_SHOWN));

function show(ids: string[]): void {
  chosen = ids;
  list();
  void metrics.show(ids);
  void loadDetails();
}

smoothing.addEventListener('input', draw);
log.addEventListener('change', draw);
byId('whole').addEventListener('click', () => metrics.zoom(null));
byId('filter').addEventListener('input', list);
byId('runs').addEventListener('keydown', moveByArrows);
byId<HTMLSelectElement>('more').addEventListener('change', ({ currentTarget }) => {
  const { value } = currentTarget as HTMLSelectElement;
  if (value !== '' && !charts.has(value)) addChart(value, value);
  (currentTarget as HTMLSelectElement).blur();
  draw();
});
byId('help').addEventListener('click', () => byId<HTMLDialogElement>('keys').showModal());
document.addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLInputElement && event.target.type === 'search';
  const isReading = byId<HTMLDialogElement>('keys').open;
  if (isTyping || isReading || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '0') metrics.zoom(null);
  else if (event.key === 'l') log.click();
  else if (event.key === '/') byId('filter').focus();
  else if (event.key === '?') byId('help').click();
  else return;
  event.preventDefault();
});

themeButton(byId('theme'), draw);

// What scrolls can be scrolled with the keyboard.
for (const scrolled of document.querySelectorAll('.wide')) scrolled.setAttribute('tabindex', '0');
// The secret has become a cookie; it need not stay in the address, nor in the history.
history.replaceState(null, '', `/${location.hash}`);
window.setInterval(() => {
  if (document.visibilityState === 'visible') void loadDetails();
}, DETAILS_MS);
void metrics.show([]);
