import { bytes } from '../../format.ts';
import { byId, element } from '../../web/page/element.ts';
import type { Advice, Checkpoint, Failure, LogLine, RunDetails, RunFacts } from '../shown.ts';
import { short } from './chart.ts';
import { densityOverTime } from './density.ts';
import { act } from './server.ts';

const STATES = {
  running: '▶ running',
  done: '✓ done',
  stopped: '■ stopped',
  failed: '✕ failed',
  interrupted: '◌ interrupted',
} as const;
/** A run's state in a sign and a word. */
export const stateOf = (state: keyof typeof STATES): string => STATES[state];

let shownNow = '';

/** Shows what there is of a run besides its curves, and how it differs from others that are shown. */
export function showDetails(details: RunDetails, others: readonly RunDetails[]): void {
  // What is the same stays as it is: where it is scrolled to, what is marked in it.
  const now = JSON.stringify([details, others.map(({ id }) => id)]);
  if (now === shownNow) return;
  const isOther = byId('run').dataset.id !== details.id;
  shownNow = now;
  byId('run').hidden = false;
  byId('run').dataset.id = details.id;
  if (isOther) byId('answer').textContent = '';
  showFacts(details.facts);
  showFailure(details.failure);
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-action]')) {
    const { state } = details.facts;
    const isFor = button.dataset.action === 'resume' ? !['running', 'done'].includes(state) : state === 'running';
    button.disabled = !isFor;
    button.onclick = () => void ask(details.id, button.dataset.action as string);
  }
  showAdvice(details.advice);
  byId('density').replaceChildren(...densityOverTime(details.histograms));
  showConfig(details, others);
  showCheckpoints(details.checkpoints);
  showLog(details.log);
}

export function hideDetails(): void {
  shownNow = '';
  byId('run').hidden = true;
}

function showFacts({ name, state, holder, sizes, config, created }: RunFacts): void {
  byId('run-name').textContent = name;
  const who = holder === null ? '' : ` · process ${holder.pid} on ${holder.host}`;
  const size = sizes.d_in === undefined ? '' : ` · ${sizes.d_in} → ${sizes.d_sae} latents`;
  byId('run-state').textContent = `${stateOf(state)}${who}${size} · since ${localTime(created)}`;
  byId('run-model').textContent = [config.model_name, config.hook_name].filter((one) => one).join(' · ');
}

function showFailure(failure: Failure | null): void {
  byId('failure').hidden = failure === null;
  if (failure === null) return;
  const { code, message, hint } = failure;
  byId('failure').replaceChildren(element('strong', {}, `✕ ${code} `), message, hint === null ? '' : ` Try: ${hint}`);
}

function showAdvice(advice: readonly Advice[]): void {
  const said = advice.map(({ level, sae, seen, try: remedy }) =>
    element(
      'li',
      {},
      element('strong', {}, level === 'warning' ? '▲ warning ' : '● note '),
      `${sae === '' ? '' : `${sae}: `}${seen}. `,
      element('span', { class: 'quiet' }, `Try: ${remedy}`),
    ),
  );
  const none = element('li', { class: 'quiet' }, 'nothing stands out');
  byId('advice').replaceChildren(...(said.length > 0 ? said : [none]));
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
  byId('config').replaceChildren(head('option', ...runs.map(({ facts }) => short(facts.name))), body);
}

function showCheckpoints(checkpoints: readonly Checkpoint[]): void {
  const rows = checkpoints.map(({ n_training_samples, created, bytes: size, path }) => {
    const made = row(
      String(n_training_samples),
      localTime(created),
      bytes(size),
      path.split(/[\\/]/).slice(-2).join('/'),
    );
    made.title = path;
    return made;
  });
  const none = element('tbody', {}, element('tr', {}, element('td', { class: 'quiet' }, 'none yet')));
  byId('checkpoints').replaceChildren(
    ...(rows.length === 0 ? [none] : [head('samples', 'written', 'size', 'folder'), element('tbody', {}, ...rows)]),
  );
}

/** The newest first: that is what somebody looks for. */
function showLog(log: readonly LogLine[]): void {
  const lines = log.map(({ time, level, message }) => `${localTime(time).slice(11)} ${level} ${message}`);
  byId('log-lines').textContent = lines.length === 0 ? 'nothing yet' : lines.reverse().join('\n');
}

/** As 2026-11-30 06:03:38, on the clock of whoever looks. */
function localTime(iso: string): string {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? iso : time.toLocaleString('sv');
}

const head = (...names: string[]): HTMLElement =>
  element('thead', {}, element('tr', {}, ...names.map((name) => element('th', { scope: 'col' }, name))));

function row(name: string, ...values: string[]): HTMLElement {
  const cells = values.map((value) => element('td', {}, value));
  return element('tr', {}, element('th', { scope: 'row' }, name), ...cells);
}
