import type { Provenance, Settings } from './layer.ts';
import type { Problem } from './problem.ts';
import type { Rule, RuleContext } from './rule.ts';
import { combinationRules } from './rules-combination.ts';
import { quantityRules } from './rules-quantity.ts';

const RULES: readonly Rule[] = [...quantityRules, ...combinationRules];

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
