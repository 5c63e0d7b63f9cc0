import type { Provenance, Settings } from './layer.ts';
import type { Problem } from './problem.ts';
import type { ParsedConfig, ResolvedConfig } from './resolved.ts';
import { combinationRules } from './rules-combination.ts';
import { quantityRules } from './rules-quantity.ts';
import { unusedRules } from './rules-unused.ts';

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

const RULES: readonly Rule[] = [...quantityRules, ...combinationRules, ...unusedRules];

/** Everything the options say against each other. `broken` are paths that already have a problem. */
export function checkRules(context: RuleContext, settings: Settings, broken: ReadonlySet<string>): Problem[] {
  return RULES.flatMap((rule) => {
    if (rule.keys.some((key) => broken.has(key))) return [];
    const finding = rule.check(context);
    if (finding === undefined) return [];
    const provenances = rule.keys.map((key) => settings.get(key)?.provenance);
    const where = provenances.find((provenance): provenance is Provenance => provenance?.where !== undefined)?.where;
    return [{ path: rule.keys[0], ...finding, ...(where === undefined ? {} : { where }) }];
  });
}
