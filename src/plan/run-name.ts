import { createHash } from 'node:crypto';
import type { ResolvedConfig } from '../config/index.ts';

const ADJECTIVES =
  'amber bold brave bright calm clear clever cosmic crisp eager early fair fleet gentle golden grand happy keen kind lively lucid merry mild noble quick quiet rapid silver steady sunny swift warm'.split(
    ' ',
  );
const ANIMALS =
  'badger bear crane crow deer dove eagle falcon finch fox hare hawk heron ibis jay lark lion lynx marten mole otter owl panda puma raven robin seal stork swan tiger wolf wren'.split(
    ' ',
  );

/**
 * The name of a run: day, model, hook, architecture and two words made from the configuration. The same
 * configuration on the same day has the same name.
 *
 * @param today the date in UTC, `2026-11-23`.
 */
export function runName(config: ResolvedConfig, today: string): string {
  const digest = createHash('sha256').update(JSON.stringify(config)).digest();
  const words = `${ADJECTIVES[digest.readUInt16LE(0) % ADJECTIVES.length]}-${ANIMALS[digest.readUInt16LE(2) % ANIMALS.length]}`;
  const { sae } = config;
  const sparsity = 'k' in sae ? `topk-k${sae.k}` : sae.architecture;
  const model = config.model_name.split(/[/\\:]/).findLast((part) => part !== '') ?? 'model';
  return [today, model, config.hook_name, sparsity, words].map(fileNamePart).join('-').slice(0, 160);
}

/** Only what every file system takes, and nothing that leaves its folder. */
function fileNamePart(text: string): string {
  return text.replace(/[^A-Za-z0-9._-]+/g, '_').replace(/^\.+/, '');
}
