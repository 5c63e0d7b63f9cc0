import type { z } from 'zod';
import { nearest } from '../nearest.ts';
import { architecturesWith, knownPaths, loggingOptions, runnerOptions } from './keys.ts';
import type { Settings } from './layer.ts';
import { type Problem, show } from './problem.ts';
import { type Architecture, saeShapes } from './sae-schema.ts';

type Issue = z.core.$ZodIssue;

/** What zod found, in our words: value, what is allowed, the nearest name, and where it was written. */
export function problemsOf(issues: readonly Issue[], settings: Settings, architecture: Architecture): Problem[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey([...issue.path.map(String), key], settings, architecture));
    }
    const path = issue.path.map(String);
    const setting = settings.get(path.slice(0, path[0] === 'sae' || path[0] === 'logger' ? 2 : 1).join('.'));
    const value = valueAt(setting?.value, path.slice(setting?.path.length ?? 0));
    const where = setting?.provenance.where;
    return [{ path: path.join('.'), value, ...describe(issue, value), ...(where ? { where } : {}) }];
  });
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((part, key) => (part as Record<string, unknown> | undefined)?.[key], value);
}

/** A key no option has: of another group, of nobody, or misspelled. */
function unknownKey(path: string[], settings: Settings, architecture: Architecture): Problem {
  const dotted = path.join('.');
  const setting = settings.get(dotted);
  const where = setting?.provenance.where;
  const candidates =
    path.length === 1 ? knownPaths() : Object.keys(path[0] === 'sae' ? saeShapes[architecture] : loggingOptions);
  const key = path.at(-1) ?? '';
  const close = nearest(key, candidates);
  const moved = path.length > 1 && key in runnerOptions ? `${key} belongs beside ${path[0]}, not in it` : undefined;
  const elsewhere =
    path.length > 1 && architecturesWith(key).length > 0
      ? `it belongs to architecture ${architecturesWith(key).join(', ')}`
      : undefined;
  const hint =
    moved ??
    elsewhere ??
    (close === undefined ? 'list the options with `sae-lens-ts train --help`' : `did you mean ${close}?`);
  return { path: dotted, value: setting?.value, message: 'is not an option', hint, ...(where ? { where } : {}) };
}

const MAMBA = {
  message: '"HookedMamba" is not supported: Mamba models need the mamba-lens library, which the worker does not have',
  hint: 'use HookedTransformer or AutoModelForCausalLM',
};

/** What is wrong with a value and what to write instead. */
export function describe(issue: Issue, value: unknown): Pick<Problem, 'message' | 'hint'> {
  switch (issue.code) {
    case 'invalid_type':
      if (value === '') return { message: `is empty; expected ${expected(issue.expected)}` };
      return {
        message: `${show(value)} is ${kind(value)}; expected ${expected(issue.expected)}`,
        ...quoted(issue.expected, value),
      };
    case 'invalid_value': {
      if (value === 'HookedMamba') return MAMBA;
      const allowed = issue.values.map(String);
      const close = typeof value === 'string' ? nearest(value, allowed) : undefined;
      return {
        message: `${show(value)} is not one of ${allowed.join(', ')}`,
        ...(close === undefined ? {} : { hint: `did you mean ${close}?` }),
      };
    }
    case 'too_small': {
      if (issue.origin !== 'number' && issue.origin !== 'int') return { message: `${show(value)} is too short` };
      return {
        message: `${show(value)} is too small`,
        hint: `use ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`,
      };
    }
    case 'too_big': {
      if (issue.origin !== 'number' && issue.origin !== 'int') return { message: `${show(value)} is too long` };
      return {
        message: `${show(value)} is too large`,
        hint: `use ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}`,
      };
    }
    default:
      return { message: `${show(value)} ${issue.message}` };
  }
}

function kind(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number') return Number.isInteger(value) ? 'a whole number' : 'not a whole number';
  return { string: 'text', boolean: 'true or false', object: 'a group' }[typeof value as string] ?? typeof value;
}

function expected(type: string): string {
  const words: Record<string, string> = {
    int: 'a whole number',
    number: 'a number',
    string: 'text',
    boolean: 'true or false',
    array: 'a list',
    record: 'a group of keys with values',
  };
  return words[type] ?? type;
}

/** `lr: "3e-4"`: the value would do without its quotes. */
function quoted(type: string, value: unknown): { hint?: string } {
  const isNumber = (type === 'number' || type === 'int') && typeof value === 'string' && value.trim() !== '';
  if (isNumber && Number.isFinite(Number(value))) return { hint: `write ${value} without quotes` };
  return {};
}
