import { z } from 'zod';

/** Where an option is shown in `--help` and in the option table. */
export const OPTION_GROUPS = [
  'SAE',
  'Language model',
  'Data',
  'Activations',
  'Devices and numerics',
  'Training',
  'Evaluation, logging and artifacts',
] as const;

export type OptionGroup = (typeof OPTION_GROUPS)[number];

/** What an option says about itself beside its type and default: everything else is made from this. */
export interface OptionMeta {
  /** One sentence: the effect, not the type. */
  description: string;
  /** Unit of a number, for people: tokens, steps, prompts, … */
  unit?: string;
  /** How the value is found when it is not given, in words, for a default that depends on other options. */
  computed?: string;
  /** True when `null` means "find it" and never crosses to the worker. */
  filled?: true;
  /** The default of a flat SAELens 5.x configuration, where it differs. */
  v5?: unknown;
  /** Python type of the resolved value, where resolving changes the type. */
  resolvesTo?: string;
}

/** Declare an option. The zod type is returned unchanged, so that its TypeScript type is kept. */
export function option<T extends z.ZodType>(schema: T, meta: OptionMeta): T {
  return schema.meta({ ...meta }) as T;
}

/** What {@link option} was told, read back from a schema's shape. */
export function metaOf(schema: z.ZodType): OptionMeta {
  return z.globalRegistry.get(schema) as unknown as OptionMeta;
}

/** 1, 2, 3, … */
export const positiveInt = () => z.int().positive();
/** 0, 1, 2, … */
export const count = () => z.int().nonnegative();
/** A finite number of at least 0. */
export const nonNegative = () => z.number().nonnegative();
/** A finite number above 0. */
export const positive = () => z.number().positive();
/** JSON passed on to a Python call. */
export const kwargs = () => z.record(z.string(), z.json());

/** Names torch knows, and `auto` for the best one this machine has. */
export const device = () => z.string().regex(/^(auto|cpu|mps|cuda(:\d+)?)$/, 'must be auto, cpu, mps, cuda or cuda:N');

export const dtype = () => z.enum(['float32', 'bfloat16', 'float16', 'float64']).meta({ title: 'Dtype' });
