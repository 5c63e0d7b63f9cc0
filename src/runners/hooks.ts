import { z } from 'zod';
import type { ResolvedConfig } from '../config/index.ts';
import { startWorker } from '../sae/lease.ts';
import { isBundled, resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';

const HookPoints = z.array(z.object({ name: z.string(), shape: z.array(z.int()), d_in: z.int().nullable() }));
/** A place in a model; `d_in` is the width of an SAE there, null where none can be trained. */
export type HookPoint = z.output<typeof HookPoints>[number];

/** Which model, and how it is loaded. */
export interface HooksOptions {
  model_name: string;
  model_class_name?: ResolvedConfig['model_class_name'];
  model_from_pretrained_kwargs?: Record<string, unknown>;
}

/**
 * The hook points of a model, in the order a forward pass reaches them.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, MODEL_NOT_FOUND, MODEL_LOAD_FAILED
 */
export async function listHooks(options: HooksOptions): Promise<HookPoint[]> {
  const { python } = await requireEnvironment();
  const { model_name } = isBundled(options.model_name)
    ? await resolveBundled({ model_name: options.model_name, dataset_path: '' }, { python })
    : options;
  const worker = await startWorker();
  try {
    const { value } = await worker.call('list_hooks', { ...options, model_name }, []);
    return HookPoints.parse(value);
  } finally {
    await worker.shutdown();
  }
}
