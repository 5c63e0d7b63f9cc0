import { Listr, ListrLogger, type ListrTask, ProcessOutput } from 'listr2';
import { BUNDLED, resolveBundled } from '../worker/bundled.ts';
import { ensureEnvironment } from '../worker/ensure-environment.ts';
import { type Environment, locateEnvironment } from '../worker/environment.ts';
import type { SetupProgress } from '../worker/install.ts';
import type { TorchChoice } from '../worker/torch-build.ts';

/** Options of `sae-lens-ts setup`. */
export interface SetupOptions {
  /** `auto`: the CUDA build where a GPU answers, else the CPU build. */
  readonly torch?: TorchChoice;
  /** Build the environment anew even when it is there. */
  readonly force?: boolean;
  /** Fetch the bundled model and text too, so that the demo needs no network afterwards. */
  readonly bundled?: boolean;
  /** Say nothing when nothing has to be done. */
  readonly quiet?: boolean;
  /** Where progress is shown; default stderr, so that stdout stays for `--json`. */
  readonly output?: NodeJS.WriteStream;
}

/** What a set-up left behind. */
export interface SetupResult {
  readonly environment: Environment;
  readonly seconds: number;
}

/**
 * Makes everything that training needs on this machine and is not there yet.
 *
 * @throws SaeLensError PYTHON_NOT_FOUND, PYTHON_TOO_OLD, SETUP_FAILED.
 */
export async function setup(options: SetupOptions = {}): Promise<SetupResult> {
  const started = performance.now();
  const output = options.output ?? process.stderr;
  const spec = { torch: options.torch ?? 'auto', force: options.force ?? false } as const;
  const ready = options.quiet && !spec.force ? await locateEnvironment(spec) : null;
  const environment =
    ready ?? (await showProgress('Python environment', output, (progress) => ensureEnvironment({ ...spec, progress })));
  if (options.bundled) {
    const demo = { model_name: `${BUNDLED}smollm2-135m`, dataset_path: `${BUNDLED}english` };
    await showProgress('Bundled model and text', output, (progress) =>
      resolveBundled(demo, { python: environment.python, progress }),
    );
  }
  return { environment, seconds: (performance.now() - started) / 1000 };
}

/** Runs one long task with its progress in sight: a live line on a terminal, a plain line for each step elsewhere. */
export async function showProgress<T>(
  title: string,
  output: NodeJS.WriteStream,
  work: (progress: SetupProgress) => Promise<T>,
): Promise<T> {
  // A terminal that does not know its width (a pty of a container or of CI) would show nothing.
  if (!output.isTTY || !(output.columns > 0)) return inPlainLines(title, output, work);
  const logger = new ListrLogger({ processOutput: new ProcessOutput(output, output) });
  let result: T | undefined;
  const task: ListrTask = {
    title,
    task: async (_, line) => {
      result = await work((step, detail) => {
        line.title = `${title}: ${step}`;
        line.output = detail ?? '';
      });
      line.title = title;
    },
  };
  await new Listr([task], { renderer: 'default', rendererOptions: { logger } }).run();
  return result as T;
}

async function inPlainLines<T>(
  title: string,
  output: NodeJS.WriteStream,
  work: (progress: SetupProgress) => Promise<T>,
): Promise<T> {
  let last = '';
  const result = await work((step) => {
    if (step !== last) output.write(`${title}: ${step}\n`);
    last = step;
  });
  output.write(`${title}: ready\n`);
  return result;
}
