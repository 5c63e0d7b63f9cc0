import type { z } from 'zod';
import { nearest } from '../nearest.ts';
import { COMPUTE_FLAGS, EVAL_METRICS, metricsNamed } from './eval-metrics.ts';
import type { evalSchema } from './evals-schema.ts';
import type { OptionsRule } from './rules-runners.ts';

type Eval = z.output<typeof evalSchema>;

export const evalRules: readonly OptionsRule<Eval>[] = [
  ({ metrics }) => {
    const value = metrics?.find((word) => metricsNamed(word).length === 0);
    if (value === undefined) return undefined;
    const groups = [...new Set(EVAL_METRICS.map(({ group }) => group))];
    const close = nearest(value, [...groups, ...EVAL_METRICS.map(({ name }) => name)]);
    const hint = close === undefined ? `the groups are ${groups.join(', ')}` : `did you mean ${close}?`;
    return { path: 'metrics', value, message: `${JSON.stringify(value)} is no metric and no group of them`, hint };
  },
  (options, isSet) => {
    const { metrics } = options;
    const value = metrics?.find((word) => metricsNamed(word).every(({ flag }) => isSet(flag) && !options[flag]));
    const flag = value === undefined ? undefined : metricsNamed(value)[0]?.flag;
    if (flag === undefined) return undefined;
    return { path: flag, message: `is false, and metrics asks for ${value}`, hint: 'leave one of the two out' };
  },
  (options) =>
    COMPUTE_FLAGS.every((flag) => !options[flag])
      ? { path: 'compute_kl', message: 'and all others of compute_… are false: nothing is left to evaluate' }
      : undefined,
  ({ dataset_path, dataset_split }) =>
    dataset_path === null && dataset_split !== null
      ? { path: 'dataset_split', message: 'has no effect without dataset_path', hint: 'name the dataset too' }
      : undefined,
];
