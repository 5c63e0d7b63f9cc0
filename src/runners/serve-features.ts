import { FeaturesConfig } from '../config/index.ts';
import { SaeLensError } from '../errors.ts';
import { holdsFeatures } from '../features/read-folder.ts';
import { createLogger } from '../log.ts';
import { evalSubjects } from './eval-subjects.ts';
import { asEval, type CollectedFeatures } from './features.ts';
import { type FeaturesInTerminalOptions, featuresInTerminal } from './features-in-terminal.ts';
import { chosenBy, featuresPlaces } from './features-places.ts';
import { type FeaturesSiteOptions, startFeaturesSite } from './features-site.ts';
import { onStopSignal } from './stop-on-signal.ts';

/** How `features --serve` was called. */
export type ServeFeaturesOptions = FeaturesInTerminalOptions &
  Pick<FeaturesSiteOptions, 'host' | 'port' | 'strictPort'>;

/** Options that say how prompts are read; the others say what is collected. */
const READING = new Set(['model_name', 'model_class_name', 'hook_name', 'device']);

/**
 * Serves the features of an SAE in this process until it is told to end: those that are there, or where there are none,
 * those that it collects first.
 *
 * @param say gets what was collected, and the address
 * @throws SaeLensError USAGE when the path means several SAEs, or options ask for other features than are there; and as
 * `collectFeatures`
 */
export async function serveFeaturesInTerminal(
  path: string,
  config: FeaturesConfig,
  { host, port, strictPort, ...given }: ServeFeaturesOptions,
  say: (made: readonly CollectedFeatures[], url: string) => void,
): Promise<void> {
  const log = createLogger({ level: 'warn', print: (text) => void process.stderr.write(`${text}\n`) });
  const subjects = await evalSubjects([path], asEval(config), { registry: given.registry, log });
  const [place, ...more] = featuresPlaces(path, subjects, given);
  if (place === undefined || more.length > 0) {
    throw new SaeLensError('USAGE', `Cannot serve "${path}": it has ${subjects.length} SAEs, and a page shows one`, {
      hint: `choose one: ${chosenBy(subjects)}`,
    });
  }
  const { subject, folder } = place;
  const isThere = holdsFeatures(folder);
  const asked = isThere ? [...collecting(config), ...(given.export === undefined ? [] : ['--export'])] : [];
  if (asked.length > 0) {
    throw new SaeLensError('USAGE', `Cannot serve other features than "${folder}" has: ${asked.join(', ')} was given`, {
      hint: 'without --serve they are collected anew; or choose another --output',
    });
  }
  const made = isThere ? [] : await featuresInTerminal(path, config, given);
  const site = await startFeaturesSite(folder, subject, { host, port, strictPort, device: config.device, log });
  let unheard = (): void => {};
  const told = new Promise<void>((end) => {
    unheard = onStopSignal(() => end());
  });
  say(made, site.url);
  await told;
  unheard();
  await site.close();
}

/** Options other than the usual ones that say what is collected. */
function collecting(config: FeaturesConfig): string[] {
  const usual: Record<string, unknown> = { ...new FeaturesConfig({}) };
  return Object.entries(config)
    .filter(([key, value]) => !READING.has(key) && JSON.stringify(value) !== JSON.stringify(usual[key]))
    .map(([key]) => `--${key}`);
}
