import type { FeaturesConfig } from '../config/index.ts';
import { grouped } from '../format.ts';
import { createLogger } from '../log.ts';
import { LiveLine } from '../sinks/live-line.ts';
import { type CollectedFeatures, collectFeatures } from './features.ts';
import { stoppable } from './stoppable.ts';

/** How `features` was called. */
export interface FeaturesInTerminalOptions {
  output?: string | undefined;
  sae?: string | undefined;
  export?: 'neuronpedia' | undefined;
  registry?: string | undefined;
  command: string;
  /** Warnings and errors only. */
  quiet: boolean;
}

/**
 * Collects features with a terminal in front: a line that says how far it is, Ctrl-C to end it.
 *
 * @throws SaeLensError as {@link collectFeatures}
 */
export async function featuresInTerminal(
  path: string,
  config: FeaturesConfig,
  { quiet, ...given }: FeaturesInTerminalOptions,
): Promise<CollectedFeatures[]> {
  const line = new LiveLine({ quiet });
  const log = createLogger({ level: quiet ? 'warn' : 'info', print: (text) => line.warn(text) });
  try {
    return await stoppable((signal) =>
      collectFeatures(path, config, {
        ...given,
        log,
        signal,
        onEvent: (event) => {
          if (event.kind !== 'stage') return;
          const { message, done, total } = event;
          line.draw([total === null || done === null ? message : `${message} ${grouped(done)}/${grouped(total)}`]);
        },
      }),
    );
  } finally {
    line.end();
  }
}
