import type { LanguageModelSAERunnerOptions } from '../classes.ts';

/** A configuration to start from. */
export interface Preset {
  description: string;
  config: LanguageModelSAERunnerOptions;
}
