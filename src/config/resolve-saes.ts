import { isDeepStrictEqual } from 'node:util';
import { nearest } from '../nearest.ts';
import { type Completed, complete, provenanceOf } from './complete.ts';
import { loggingOptions, runnerOptions, saeOptions } from './keys.ts';
import type { Provenance, Setting } from './layer.ts';
import { type Problem, show } from './problem.ts';
import type { ResolvedConfig } from './resolved.ts';
import { OWN_TRAINING, SAE_NAME, SHARED_SAE, type SharedSae } from './saes-schema.ts';
import { namedSae, saesName } from './several.ts';

/** One of several SAEs: what it says itself, as settings of a run of its own. */
interface Named {
  readonly name: string;
  /** By the path that the option has in a run of its own. */
  readonly own: ReadonlyMap<string, Setting>;
}

/** What {@link completeSaes} found. */
interface Several {
  config: ResolvedConfig;
  provenance: ReadonlyMap<string, Provenance>;
  problems: Problem[];
  notices: string[];
}

/**
 * Complete a configuration of several SAEs: each is that of a run of its own, where what the SAE says itself overrules
 * what all layers say of `sae` and of training.
 *
 * @param given the settings of each layer, weakest first
 */
export function completeSaes(given: readonly Setting[][], isV5: boolean, known: readonly Problem[]): Several {
  const shared = given.map((layer) => layer.filter(({ path }) => path[0] !== 'saes'));
  const problems: Problem[] = [];
  const base = complete(shared, isV5, known);
  const saes = namedSaes(given.flat(), base.config, problems);
  const completeWithout = ({ own }: Named, left: ReadonlySet<string>): Completed =>
    complete(
      [...shared.map((layer) => layer.filter(({ path }) => !left.has(path.join('.')))), [...own.values()]],
      isV5,
      known,
    );
  const first = saes.map((sae) => completeWithout(sae, new Set()));
  // What the run says for all is idle only where no SAE has a use for it.
  const isIdleForAll = (path: string) => first.every(({ unused }, i) => unused.has(path) && !saes[i]?.own.has(path));
  const completed = saes.map((sae, i) => {
    const { unused } = first[i] as Completed;
    const left = [...unused].filter((path) => !sae.own.has(path) && !isIdleForAll(path));
    return left.length === 0 ? (first[i] as Completed) : completeWithout(sae, new Set(left));
  });
  problems.push(...overruled(base, saes), ...problemsOfAll(saes, completed));

  const config = { ...base.config, saes: Object.fromEntries(saes.map(({ name }, i) => [name, ownPart(completed[i])])) };
  const isNamed = base.settings.has('logger.run_name');
  const logger = isNamed ? config.logger : { ...config.logger, run_name: saesName(config) };
  const provenance = new Map(provenanceOf(base.config, base.settings));
  for (const [i, { name }] of saes.entries()) {
    for (const [path, of] of provenanceOf((completed[i] as Completed).config, (completed[i] as Completed).settings)) {
      if (isOwnPath(path)) provenance.set(`saes.${name}.${path.replace(/^sae\./, '')}`, of);
    }
  }
  const notices = [...new Set(completed.flatMap((one) => one.notices))];
  return { config: { ...config, logger }, provenance, problems, notices };
}

/** The SAEs in the order in which they are first named; what cannot be an SAE's own is reported. */
function namedSaes(settings: readonly Setting[], run: ResolvedConfig, problems: Problem[]): Named[] {
  const byName = new Map<string, Map<string, Setting>>();
  for (const setting of settings) {
    const [group, name = '', key = ''] = setting.path;
    if (group !== 'saes') continue;
    const { where } = setting.provenance;
    const report = (path: string, message: string, hint: string) => {
      problems.push({ path, value: setting.value, message, hint, ...(where ? { where } : {}) });
    };
    if (!byName.has(name)) {
      const nameProblem = problemOfName(name, [...byName.keys()]);
      if (nameProblem !== undefined) report(`saes.${name}`, ...nameProblem);
      byName.set(name, new Map());
    }
    const path = pathOf(key);
    if (key === '') continue;
    if (path === undefined) report(`saes.${name}.${key}`, ...problemOfKey(key));
    else if (!(key in SHARED_SAE)) byName.get(name)?.set(path.join('.'), { ...setting, path });
    else if (!isDeepStrictEqual(setting.value, run.sae[key as SharedSae])) {
      const reason = `${show(setting.value)} cannot be one SAE's own: ${SHARED_SAE[key as SharedSae]}`;
      report(`saes.${name}.${key}`, reason, `set sae.${key} beside saes, for all of them`);
    }
  }
  return [...byName].map(([name, own]) => ({ name, own }));
}

/** Where an option of an SAE stands in a run of its own. */
function pathOf(key: string): string[] | undefined {
  if (key === 'architecture' || key in saeOptions) return ['sae', key];
  return (OWN_TRAINING as readonly string[]).includes(key) ? [key] : undefined;
}

function isOwnPath(path: string): boolean {
  const [group, key = ''] = path.split('.');
  return group === 'sae' ? !(key in SHARED_SAE) : (OWN_TRAINING as readonly string[]).includes(path);
}

function problemOfName(name: string, others: readonly string[]): [message: string, hint: string] | undefined {
  if (!SAE_NAME.test(name)) {
    return [
      `${show(name)} cannot be a name: it becomes a folder`,
      'use up to 64 letters, digits, ".", "_" and "-", beginning with a letter or a digit, and no name of a file',
    ];
  }
  const same = others.find((other) => other.toLowerCase() === name.toLowerCase());
  if (same === undefined) return undefined;
  return [`${show(name)} and ${show(same)} are one folder where letters have no case`, 'give one another name'];
}

function problemOfKey(key: string): [message: string, hint: string] {
  if (key in runnerOptions || key in loggingOptions) {
    return ['is shared by all SAEs of a run', `set ${key} beside saes, or train this SAE in a run of its own`];
  }
  const close = nearest(key, [...Object.keys(saeOptions), ...OWN_TRAINING]);
  return ['is not an option', close ? `did you mean ${close}?` : 'list the options with `sae-lens-ts train --help`'];
}

/** What is wrong by itself, although every SAE says something else. */
function overruled(base: Completed, saes: readonly Named[]): Problem[] {
  return base.problems.filter(({ path }) => {
    const option = optionOf(path);
    return base.refused.has(option) && saes.length > 0 && saes.every(({ own }) => own.has(option));
  });
}

/** The problems of every SAE; one that all have from what the run says for all, once and under its path there. */
function problemsOfAll(saes: readonly Named[], completed: readonly Completed[]): Problem[] {
  const seen = new Set<string>();
  return saes.flatMap(({ name, own }, i) =>
    (completed[i] as Completed).problems.flatMap((problem): Problem[] => {
      const { path, message } = problem;
      const isOwn = own.has(optionOf(path));
      const isSame = (other: Problem) => other.path === path && other.message === message;
      const isOfAll = !isOwn && completed.every((one) => one.problems.some(isSame));
      const told =
        isOfAll || !(isOwn || isOwnPath(optionOf(path))) ? path : `saes.${name}.${path.replace(/^sae\./, '')}`;
      const key = `${told}\0${message}`;
      if (seen.has(key)) return [];
      seen.add(key);
      return [{ ...problem, path: told }];
    }),
  );
}

/** The option of which the path may name a part. */
function optionOf(path: string): string {
  const parts = path.split('.');
  return parts.slice(0, parts[0] === 'sae' || parts[0] === 'logger' ? 2 : 1).join('.');
}

function ownPart(completed: Completed | undefined) {
  return namedSae((completed as Completed).config);
}
