import { byId, element } from '../../web/page/element.ts';
import { themeButton } from '../../web/page/theme.ts';
import type { ListedRun, NewRows, RunDetails, RunSeries } from '../shown.ts';
import { Chart, type Line } from './chart.ts';
import { showDetails } from './details.ts';
import { showRuns } from './run-list.ts';
import { follow, type Listed, runDetails, runSeries } from './server.ts';

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
  ['system/data_share', 'Share of time: data and mixing'],
  ['system/sae_share', 'Share of time: SAE'],
  ['system/rss_bytes', 'Memory of the worker, bytes'],
  ['system/gpu_bytes', 'Memory of the GPU, bytes'],
];
const MOST_SHOWN = 8;
const REDRAW_MS = 100;
const DETAILS_MS = 3_000;
const ZOOM_MS = 200;
const READING_MS = 1_500;
/** Rows of a line before it is loaded again, as its lowest and highest. */
const MOST_POINTS = 4_000;

type Points = { steps: number[]; values: number[] };
type Window = readonly [number, number] | null;

let runs: readonly ListedRun[] = [];
let source: EventSource | null = null;
let shownWindow: Window = null;
let focused: string | null = null;
const slots = new Map<string, number>();
const series = new Map<string, RunSeries>();
/** The same in a stretch, with all its rows. */
const closer = new Map<string, RunSeries>();
const details = new Map<string, RunDetails>();
const charts = new Map<string, Chart>();
const smoothing = byId<HTMLInputElement>('smoothing');
const log = byId<HTMLInputElement>('log');

for (const [key, title] of CHARTS) addChart(key, title);

function addChart(key: string, title: string): void {
  const chart = new Chart(key, title, setWindow);
  charts.set(key, chart);
  byId('charts').append(chart.root);
}

/** What was only looked at here and there is loaded again, until all of it was read. */
window.setInterval(() => {
  for (const { id, is_complete } of [...series.values()]) if (!is_complete) onReload(id);
}, READING_MS);

let isDue = false;
/** Soon, and once for all that comes until then. */
function draw(): void {
  if (isDue) return;
  isDue = true;
  window.setTimeout(() => {
    isDue = false;
    const view = { smoothing: Number(smoothing.value), log: log.checked, window: shownWindow };
    for (const chart of charts.values()) chart.draw(linesOf(chart.key), view);
    offerMore();
    const reading = [...series.values()].filter(({ is_complete }) => !is_complete);
    byId('reading').textContent = reading
      .map(({ id }) => `${id}: rows at even distances, while all are being read`)
      .join('; ');
  }, REDRAW_MS);
}

function linesOf(key: string): Line[] {
  const lines: Line[] = [];
  for (const [id, slot] of slots) {
    const whole = series.get(id)?.saes ?? {};
    for (const [n, [sae, own]] of Object.entries(whole).entries()) {
      const points = (shownWindow !== null && closer.get(id)?.saes[sae]?.[key]) || own[key];
      const name = runs.find((run) => run.id === id)?.name ?? id;
      if (points !== undefined) lines.push({ name: sae === '' ? name : `${name} · ${sae}`, slot: slot + n, ...points });
    }
  }
  return lines;
}

/** Metrics that have no chart yet. */
function offerMore(): void {
  const more = byId<HTMLSelectElement>('more');
  if (document.activeElement === more) return;
  const keys = [...series.values()].flatMap(({ saes }) => Object.values(saes).flatMap((one) => Object.keys(one)));
  const left = [...new Set(keys)].filter((key) => !charts.has(key)).sort();
  if (more.options.length === left.length + 1) return;
  more.replaceChildren(
    element('option', { value: '' }, 'add a metric'),
    ...left.map((key) => element('option', { value: key }, key)),
  );
}

/** Loads what is chosen and not here yet, then follows all of it. */
async function load(): Promise<void> {
  const wanted = [...slots.keys()].filter((id) => !series.has(id));
  const found = await Promise.all(wanted.map((id) => runSeries(id).catch(() => null)));
  for (const one of found) if (one !== null) series.set(one.id, one);
  for (const id of series.keys()) if (!slots.has(id)) series.delete(id);
  source?.close();
  source = follow([...series.values()], { runs: onRuns, rows: onRows, reload: onReload, connection: onConnection });
  await loadCloser();
  draw();
  await loadDetails();
}

async function loadDetails(): Promise<void> {
  for (const id of slots.keys()) {
    const one = await runDetails(id).catch(() => null);
    if (one !== null) details.set(id, one);
  }
  const one = focused === null ? undefined : details.get(focused);
  if (one === undefined) return;
  showDetails(
    one,
    [...slots.keys()].filter((id) => id !== focused).flatMap((id) => details.get(id) ?? []),
  );
}

async function loadCloser(): Promise<void> {
  closer.clear();
  if (shownWindow === null) return;
  const [from, to] = shownWindow;
  const found = await Promise.all([...slots.keys()].map((id) => runSeries(id, from, to).catch(() => null)));
  for (const one of found) if (one !== null) closer.set(one.id, one);
}

let zooming: number | undefined;
function setWindow(chosen: Window): void {
  shownWindow = chosen;
  closer.clear();
  draw();
  window.clearTimeout(zooming);
  zooming = window.setTimeout(() => void loadCloser().then(draw), ZOOM_MS);
}

function onRuns(listed: Listed): void {
  runs = listed.runs;
  byId('folder').textContent = listed.folder;
  // What goes on is what somebody who opens this wants to see, else the newest that has rows.
  const first = runs.find(({ state }) => state === 'running') ?? runs.find(({ step }) => step > 0) ?? runs[0];
  if (focused === null && first !== undefined) focus(first.id);
  list();
}

const list = (): void => showRuns(runs, { slots, focused, toggle, focus });

function onRows({ id, rows }: NewRows): void {
  const known = series.get(id);
  if (known === undefined) return;
  let most = 0;
  for (const { step, sae = '', ...values } of rows) {
    if (typeof step !== 'number' || typeof sae !== 'string') continue;
    const saes = known.saes as Record<string, Record<string, Points>>;
    saes[sae] ??= {};
    const own = saes[sae];
    for (const [key, value] of Object.entries(values)) {
      if (typeof value !== 'number') continue;
      own[key] ??= { steps: [], values: [] };
      const points = own[key];
      points.steps.push(step);
      points.values.push(value);
      most = Math.max(most, points.steps.length);
    }
  }
  if (most > MOST_POINTS) onReload(id);
  draw();
}

function onReload(id: string): void {
  series.delete(id);
  void load();
}

function onConnection(isThere: boolean): void {
  byId('connection').textContent = isThere
    ? 'connected'
    : 'connection lost; what is shown stays, and goes on when it is back';
}

function toggle(id: string): void {
  if (slots.has(id)) slots.delete(id);
  else choose(id);
  list();
  void load();
}

function focus(id: string): void {
  focused = id;
  if (!slots.has(id)) choose(id);
  list();
  void load();
}

function choose(id: string): void {
  const [oldest] = slots.keys();
  if (slots.size >= MOST_SHOWN && oldest !== undefined) slots.delete(oldest);
  const taken = new Set(slots.values());
  slots.set(id, Array.from({ length: MOST_SHOWN }, (_, slot) => slot).find((slot) => !taken.has(slot)) ?? 0);
}

smoothing.addEventListener('input', draw);
log.addEventListener('change', draw);
byId('whole').addEventListener('click', () => setWindow(null));
byId('filter').addEventListener('input', list);
byId<HTMLSelectElement>('more').addEventListener('change', ({ currentTarget }) => {
  const { value } = currentTarget as HTMLSelectElement;
  if (value !== '' && !charts.has(value)) addChart(value, value);
  (currentTarget as HTMLSelectElement).blur();
  draw();
});
byId('help').addEventListener('click', () => byId<HTMLDialogElement>('keys').showModal());
document.addEventListener('keydown', (event) => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '0') setWindow(null);
  else if (event.key === 'l') log.click();
  else if (event.key === '/') byId('filter').focus();
  else return;
  event.preventDefault();
});

themeButton(byId('theme'), () => {
  draw();
  list();
});

// What scrolls can be scrolled with the keyboard.
for (const scrolled of document.querySelectorAll('.wide')) scrolled.setAttribute('tabindex', '0');
// The secret has become a cookie; it need not stay in the address, nor in the history.
history.replaceState(null, '', '/');
window.setInterval(() => {
  if (document.visibilityState === 'visible') void loadDetails();
}, DETAILS_MS);
void load();
