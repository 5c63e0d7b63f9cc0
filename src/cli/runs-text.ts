import { bytes, grouped, significant, sparkline } from '../format.ts';
import { asCalled } from '../program-name.ts';
import type { RunEntry, RunView } from '../runners/runs.ts';
import { tableText } from './table.ts';

const HEAD = ['name', 'when', 'model · hook', 'SAE', 'steps', 'state', 'EV', 'L0', 'size'];
/** Bars of a line. */
const WIDTH = 30;
const SHOWN: readonly (readonly [label: string, metric: string])[] = [
  ['loss', 'losses/overall_loss'],
  ['explained variance', 'metrics/explained_variance'],
  ['L0', 'metrics/l0'],
  ['held-out EV', 'reconstruction_quality/explained_variance'],
  ['CE loss score', 'model_performance_preservation/ce_loss_score'],
  ['dead latents', 'sparsity/dead_features'],
];

/** Runs, a row each. */
export function listText(runs: readonly RunEntry[]): string {
  const number = (value: number | null): string => (value === null ? '' : significant(value));
  const rows = runs.map((run) => [
    run.id === '.' ? run.name : run.id,
    when(run.created),
    `${run.model} · ${run.hook}`,
    `${run.architecture} ${run.d_in === null ? '' : `${grouped(run.d_in)} → `}${run.d_sae === null ? '' : grouped(run.d_sae)}`,
    `${grouped(run.step)}${run.total_steps === null ? '' : `/${grouped(run.total_steps)}`}`,
    run.state,
    number(run.explained_variance),
    number(run.l0),
    bytes(run.bytes),
  ]);
  return tableText([HEAD, ...rows], { right: [4, 6, 7, 8] });
}

/** One run, for people. */
export function viewText({ facts, ...view }: RunView): string {
  const { config, sizes, holder, versions, machine } = facts;
  const k = config['sae.k'] === undefined ? '' : ` · k ${config['sae.k']}`;
  const latents = sizes.d_sae ?? config['sae.d_sae'];
  const width =
    latents === undefined || latents === null
      ? ''
      : ` · ${sizes.d_in === undefined ? '' : `${grouped(sizes.d_in)} → `}${grouped(Number(latents))} latents`;
  const who = holder === null ? '' : ` · process ${holder.pid} on ${holder.host}`;
  const data = config.cached_activations_path ?? config.dataset_path ?? '';
  const fields = [
    ['run', view.name],
    ['state', `${facts.state}${who} · since ${when(facts.created)}`],
    ['sae', `${config['sae.architecture'] ?? ''}${width}${k}`],
    ['model', `${config.model_name} · ${config.hook_name}`],
    ['data', `${data} · ${grouped(Number(config.training_tokens ?? 0))} tokens`],
    ['files', `${view.folder} · ${bytes(view.bytes)}`],
  ];
  const parts = [tableText(fields, { indent: '  ' })];
  for (const [sae, metrics] of Object.entries(view.metrics)) {
    const rows = SHOWN.flatMap(([label, name]) => {
      const { last = null, values = [] } = metrics[name] ?? {};
      return last === null ? [] : [[label, significant(last), sparkline(values, WIDTH)]];
    });
    if (rows.length > 0) parts.push(`${sae === '' ? 'metrics' : sae}\n${tableText(rows, { indent: '  ' })}`);
  }
  if (view.checkpoints.length > 0) {
    const rows = view.checkpoints.map((one) => [
      one.path,
      `${grouped(one.n_training_samples)} tokens`,
      bytes(one.bytes),
      when(one.created),
    ]);
    parts.push(`checkpoints\n${tableText(rows, { indent: '  ', right: [1, 2] })}`);
  }
  const advice = view.advice.map((one) => [one.seen, one.try]);
  if (advice.length > 0) parts.push(`advice\n${advice.map(([seen, tried]) => `  ${seen}\n      ${tried}\n`).join('')}`);
  const { lastWords } = view;
  if (lastWords !== null) parts.push(`failed with ${lastWords.code}\n${indented(lastWords.message)}`);
  const provenance = [
    ['command', facts.command.join(' ')],
    [
      'versions',
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    [
      'machine',
      Object.entries(machine)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    ],
  ];
  parts.push(`provenance\n${tableText(provenance, { indent: '  ' })}`);
  parts.push(
    `Next:\n${view.next.map(({ command, purpose }) => `  ${asCalled(command)}\n      ${purpose}\n`).join('')}`,
  );
  return parts.join('\n');
}

const indented = (text: string): string =>
  text
    .split('\n')
    .map((line) => `  ${line}\n`)
    .join('');

/** To the minute, in the time of this place. */
function when(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const [day, time] = [
    date.toLocaleDateString('sv'),
    date.toLocaleTimeString('sv', { hour: '2-digit', minute: '2-digit' }),
  ];
  return `${day} ${time}`;
}
