import { isOptions } from './canonical.ts';
import { loggingOptions, schemaAt } from './keys.ts';
import type { Layer, Setting } from './layer.ts';

/** Options that belong to the run or the machine they were written on, not to how an SAE is trained. */
const OF_THAT_RUN = new Set([
  'output_path',
  'checkpoint_path',
  'rescue_dir',
  'from_pretrained_path',
  'resume',
  'resume_from_checkpoint',
  'use_cached_activations',
  'cached_activations_path',
  'device',
  'llm_device',
  'act_store_device',
  'sae.device',
  'dataset_trust_remote_code',
  'verbose',
  'compile_llm',
  'compile_sae',
  'llm_compilation_mode',
  'sae_compilation_mode',
  ...Object.keys(loggingOptions).map((key) => `logger.${key}`),
]);

/** The configuration of a run of somebody's, as a layer to start from. */
export function fromLayer(reference: string, value: unknown): Layer {
  return { kind: 'from', source: reference, value };
}

/**
 * What of such a layer is taken: how the SAE was trained. What is left out is told: nobody wrote it for this run, so
 * that it is no mistake.
 */
export function takenSettings(settings: readonly Setting[], layer: Layer, notices: string[]): Setting[] {
  const tell = (dropped: readonly Setting[], why: string): void => {
    if (dropped.length === 0) return;
    const names = dropped.map(({ path }) => path.join('.')).sort();
    notices.push(`${layer.source}: left out ${why}: ${names.join(', ')}`);
  };
  const isUnknown = ({ path }: Setting): boolean =>
    path.join('.') !== 'sae.architecture' && schemaAt(path) === undefined;
  const isOfThatRun = ({ path, value }: Setting): boolean =>
    (OF_THAT_RUN.has(path.join('.')) && value !== null && value !== false) ||
    (isOptions(value) && 'trust_remote_code' in value);
  tell(settings.filter(isUnknown), 'what is no option here');
  tell(
    settings.filter((one) => isOfThatRun(one) && one.path[0] !== 'logger'),
    'what belongs to that run or machine',
  );
  return settings
    .filter((one) => !isUnknown(one) && !OF_THAT_RUN.has(one.path.join('.')))
    .map((one) => ({ ...one, value: withoutTrust(one.value), recorded: true as const }));
}

/** Whose code may run here is never another run's to say (promise P4). */
function withoutTrust(value: unknown): unknown {
  if (!isOptions(value)) return value;
  const { trust_remote_code: _, ...rest } = value;
  return rest;
}
