import type { ParsedConfig, ResolvedConfig } from './resolved.ts';

/** What a rule may look at. */
export interface RuleContext {
  config: ResolvedConfig;
  /** Before derived defaults; holds the options that are only checked. */
  parsed: ParsedConfig;
  /** Did a layer set this option? */
  isSet: (path: string) => boolean;
}

/** What a rule found: the message begins after the path of the option. */
export interface Finding {
  value?: unknown;
  message: string;
  hint?: string;
}

/** A rule about several options. It is not asked when one of them is invalid by itself. */
export interface Rule {
  /** The options it names, the one to blame first. */
  keys: readonly [string, ...string[]];
  check: (context: RuleContext) => Finding | undefined;
}
