import { grouped, significant } from '../format.ts';
import type { EvalText } from '../runners/eval-subjects.ts';
import type { EvalResult } from '../runners/evals.ts';
import { tableText } from './table.ts';

/** So many SAEs have a column each; more have a row each, with what is looked at first. */
const MOST_COLUMNS = 3;
const FIRST = [
  'sparsity/l0',
  'reconstruction_quality/explained_variance',
  'model_performance_preservation/ce_loss_score',
  'model_behavior_preservation/kl_div_score',
  'reconstruction_quality/cossim',
  'shrinkage/l2_ratio',
  'misc_metrics/frac_alive',
];

const TEXTS: Readonly<Record<EvalText, string>> = {
  held_out: 'held out by the run, never trained on',
  training: 'from its beginning, which the SAE may have been trained on',
  named: 'from its beginning',
};

/** What was found of SAEs, for people: a table, and below it what the numbers are of. */
export function evalText(results: readonly EvalResult[]): string {
  const notes = [...new Set(results.map(noteOf))].map((note) => `${note}\n`).join('');
  const hasIntervals = results.some(({ intervals }) => Object.values(intervals).some((one) => one !== null));
  const said = hasIntervals ? '± is half of the 95 % interval, by the jackknife over batches\n' : '';
  return `${results.length <= MOST_COLUMNS ? byMetric(results) : bySae(results)}\n${notes}${said}`;
}

function byMetric(results: readonly EvalResult[]): string {
  const rows = keysOf(results).map((key) => [key, ...results.map((result) => cellOf(result, key))]);
  return tableText([['', ...results.map(({ name }) => name)], ...rows]);
}

function bySae(results: readonly EvalResult[]): string {
  const chosen = results[0]?.options.metrics;
  const keys = keysOf(results).filter((key) => chosen !== null || FIRST.includes(key));
  const rows = results.map((result) => [result.name, ...keys.map((key) => cellOf(result, key))]);
  return tableText([['', ...keys.map((key) => key.slice(key.indexOf('/') + 1))], ...rows]);
}

const keysOf = (results: readonly EvalResult[]): string[] => [
  ...new Set(results.flatMap(({ metrics }) => Object.keys(metrics)).filter((key) => !key.startsWith('token_stats/'))),
];

/** `0.9001 ± 0.002`; a quantity that is not defined is no number. */
function cellOf({ metrics, intervals }: EvalResult, key: string): string {
  const value = metrics[key];
  if (value === undefined) return '';
  if (value === null) return 'not defined';
  const interval = intervals[key];
  return interval == null ? significant(value) : `${significant(value)} ± ${shortly((interval[1] - interval[0]) / 2)}`;
}

/** Of an uncertainty two digits say enough. */
const shortly = (value: number): string => significant(Number(value.toPrecision(2)));

function noteOf({ model_name, dataset_path, text, n_prompts, options }: EvalResult): string {
  const { context_size, batch_size_prompts } = options;
  const n_batches = Math.ceil(n_prompts / batch_size_prompts);
  const batches = `${grouped(n_batches)} batch${n_batches === 1 ? '' : 'es'}`;
  const drawn = options.seed === null ? '' : `, drawn with seed ${options.seed}`;
  const where = text === 'named' && options.seed !== null ? 'from all over' : TEXTS[text];
  return `${model_name} on ${dataset_path} (${where}${drawn}): ${grouped(n_prompts)} sequences of ${context_size} tokens, ${batches}`;
}
