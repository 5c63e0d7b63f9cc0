import { dirname, resolve } from 'node:path';
import { notWritten, writeFileAtomic } from '../artifacts/atomic.ts';
import { type EvalConfig, metricsNamed } from '../config/index.ts';
import { paretoPlot } from '../dashboard/pareto.ts';
import { SaeLensError } from '../errors.ts';
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
  /** Where the plot goes. */
  plot?: string | undefined;
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
  { output, plot, registry, quiet }: EvalsInTerminalOptions,
): Promise<EvalResult[]> {
  if (plot !== undefined) requirePlotted(config);
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
      if (plot !== undefined) {
        await writePlot(results, plot);
        log.info(`wrote ${resolve(plot)}`);
      }
      return results;
    });
  } finally {
    line.end();
  }
}

/** @throws SaeLensError USAGE when there would be nothing to draw */
function requirePlotted({ metrics }: EvalConfig): void {
  const named = metrics?.flatMap(metricsNamed).map(({ name }) => name) ?? null;
  if (named === null || (named.includes('l0') && PLOTTED.some((name) => named.includes(name)))) return;
  throw new SaeLensError(
    'USAGE',
    `Cannot draw a plot of ${metrics?.join(', ')}: it shows l0 against ${PLOTTED.join(' and ')}`,
    {
      hint: 'add them to --metrics, or leave it out',
    },
  );
}

const PLOTTED = ['explained_variance', 'ce_loss_score'];

async function writePlot(results: readonly EvalResult[], path: string): Promise<void> {
  const points = results.map(({ name, metrics }) => ({
    name,
    l0: metrics['sparsity/l0'] ?? 0,
    explainedVariance: metrics['reconstruction_quality/explained_variance'] ?? undefined,
    ceLossScore: metrics['model_performance_preservation/ce_loss_score'] ?? undefined,
  }));
  try {
    await writeFileAtomic(resolve(path), paretoPlot(points));
  } catch (error) {
    throw notWritten(`Cannot write "${path}"`, dirname(resolve(path)), error as Error);
  }
}
