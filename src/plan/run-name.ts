import { createHash } from 'node:crypto';
import type { ResolvedConfig } from '../config/index.ts';

const ADJECTIVES =
  'amber bold brave bright calm clear clever cosmic crisp eager early fair fleet gentle golden grand happy keen kind lively lucid merry mild noble quick quiet rapid silver steady sunny swift warm';
const ANIMALS =
  'badger bear crane crow deer dove eagle falcon finch fox hare hawk heron ibis jay lark lion lynx marten mole otter owl panda puma raven robin seal stork swan tiger wolf wren';

/** What a run's name may be made of (a folder, a W&B name and a word on command lines). */
const MAX_LENGTH = 128;

/**
 * The name of a run: day, model, hook, architecture and two words made from the configuration. The same
 * configuration on the same day has the same name.
 *
 * @param today the date in UTC, `2026-11-23`.
 */
export function runName(config: ResolvedConfig, today: string): string {
  const digest = createHash('sha256').update(JSON.stringify(config)).digest();
  const words = `${wordOf(ADJECTIVES, digest.readUInt16LE(0))}-${wordOf(ANIMALS, digest.readUInt16LE(2))}`;
  const { sae } = config;
  const one = 'k' in sae ? `${sae.architecture}-k${sae.k}` : sae.architecture;
  const kind = config.saes === undefined ? one : `${Object.keys(config.saes).length}-saes`;
  const model = config.model_name.split(/[/\\:]/).findLast((part) => part !== '') ?? 'model';
  const subject = [today, model, config.hook_name, kind].join('-').replace(/[^A-Za-z0-9._-]+/g, '_');
  return `${subject.slice(0, MAX_LENGTH - words.length - 1)}-${words}`;
}

function wordOf(list: string, index: number): string {
  const words = list.split(' ');
  return words[index % words.length] as string;
}
