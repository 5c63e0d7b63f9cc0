import type { EvalConfig } from '../config/index.ts';
import { grouped } from '../format.ts';
import { createLogger } from '../log.ts';
import { LiveLine } from '../sinks/live-line.ts';
import { type EvalResult, runEvals } from './evals.ts';
import { forSaeBench, writeSaeBench } from './saebench.ts';
import { stoppable } from './stoppable.ts';

/** How `eval` was called. */
export interface EvalsInTerminalOptions {
  /** Where SAEBench's files go. */
  output?: string | undefined;
  registry?: string | undefined;
  /** Warnings and errors only. */
  quiet: boolean;
}

/**
 * Evaluates with a terminal in front: a line that says how far it is, Ctrl-C to end it.
 *
 * @throws SaeLensError as {@link runEvals}; USAGE when SAEBench's files would lack metrics
 */
export async function evalsInTerminal(
  paths: readonly string[],
  config: EvalConfig,
  { output, registry, quiet }: EvalsInTerminalOptions,
): Promise<EvalResult[]> {
  const line = new LiveLine({ quiet });
  const log = createLogger({ level: quiet ? 'warn' : 'info', print: (text) => line.warn(text) });
  try {
    return await stoppable(async (signal) => {
      const results = await runEvals(paths, output === undefined ? config : forSaeBench(config), {
        registry,
        log,
        signal,
        onEvent: (event) => {
          if (event.kind !== 'stage') return;
          const part =
            event.total === null || event.done === null ? '' : ` ${grouped(event.done)}/${grouped(event.total)}`;
          line.draw([`${event.message}${part}`]);
        },
      });
      if (output !== undefined) for (const file of await writeSaeBench(results, output)) log.info(`wrote ${file}`);
      return results;
    });
  } finally {
    line.end();
  }
}
