import type { LanguageModelSAERunnerOptions } from '../classes.ts';

/** A configuration to start from: `train --preset` takes it as it is, `init` writes it down. */
export interface Preset {
  /** One line, for a list. */
  description: string;
  config: LanguageModelSAERunnerOptions;
  /** Why a value is what it is, by the dotted key; beside the value in what `init` writes. */
  why: Readonly<Record<string, string>>;
  /** A command that must have run before. */
  first?: string;
}
