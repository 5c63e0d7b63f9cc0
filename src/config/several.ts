import type { ResolvedConfig, ResolvedNamedSae, ResolvedSAE } from './resolved.ts';
import { OWN_TRAINING, type OwnTraining, SHARED_SAE } from './saes-schema.ts';

/**
 * The configurations that a run trains, each as of a run of its own: by name where it has several SAEs, and its own
 * under null where it has one.
 */
export function configsOf(config: ResolvedConfig): ReadonlyMap<string | null, ResolvedConfig> {
  const { saes, ...run } = config;
  if (saes === undefined) return new Map([[null, config]]);
  return new Map(
    Object.entries(saes).map(([name, own]) => {
      const isTraining = (key: string): key is OwnTraining => (OWN_TRAINING as readonly string[]).includes(key);
      const part = (wanted: (key: string) => boolean) =>
        Object.fromEntries(Object.entries(own).filter(([key]) => wanted(key)));
      const shared = Object.fromEntries(Object.entries(run.sae).filter(([key]) => key in SHARED_SAE));
      const { architecture } = own;
      const sae = { architecture, ...shared, ...part((key) => !isTraining(key)) } as ResolvedSAE;
      return [name, { ...run, sae, ...part(isTraining) }];
    }),
  );
}

/** What of a run of its own is an SAE's own among several. */
export function namedSae(config: ResolvedConfig): ResolvedNamedSae {
  const sae = Object.entries(config.sae).filter(([key]) => !(key in SHARED_SAE));
  const training = OWN_TRAINING.map((key) => [key, config[key]] as const);
  return Object.fromEntries([...sae, ...training]) as unknown as ResolvedNamedSae;
}

/** The name that SAELens gives a run of several SAEs. */
export function saesName(config: ResolvedConfig): string {
  const saes = [...configsOf(config).values()];
  const distinct = (values: readonly unknown[]) => [...new Set(values)].join('+');
  const name = `multi-${distinct(saes.map(({ sae }) => sae.architecture))}-N${saes.length}`;
  return `${name}-LR-${distinct(saes.map(({ lr }) => lr))}-Tokens-${config.training_tokens.toExponential(3)}`;
}
