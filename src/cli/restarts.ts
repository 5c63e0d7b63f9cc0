import { InvalidArgumentError } from 'commander';

/** The flag of commands that train. */
export const MAX_RESTARTS = [
  '--max_restarts <n>',
  'restarts from the newest checkpoint when the worker is lost, in a row without a new one (default: 3)',
] as const;

export function restartsOf(word: string): number {
  if (!/^\d{1,6}$/.test(word)) throw new InvalidArgumentError('a number of restarts is a whole number, 0 for none');
  return Number(word);
}
