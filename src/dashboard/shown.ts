/** What the server tells the page: types only, for both sides. */

export type RunState = 'running' | 'done' | 'stopped' | 'failed' | 'interrupted';
type Flat = Record<string, string | number | boolean | null>;

/** A run in the list. */
export interface ListedRun {
  /** Its folder, seen from the folder of all runs. */
  readonly id: string;
  readonly name: string;
  readonly state: RunState;
  readonly created: string;
  readonly model: string;
  readonly hook: string;
  readonly architecture: string;
  readonly d_in: number | null;
  readonly d_sae: number | null;
  /** Steps that are done, by the last row. */
  readonly step: number;
  readonly total_steps: number | null;
  /** Of its last rows. */
  readonly loss: number | null;
  readonly l0: number | null;
  readonly explained_variance: number | null;
  /** Of the last evaluation, for each SAE (`''` for the only one). */
  readonly evaluated: readonly {
    readonly sae: string;
    readonly l0: number;
    readonly explained_variance: number | null;
    readonly ce_loss_score: number | null;
  }[];
}

export interface RunFacts {
  readonly name: string;
  readonly created: string;
  readonly command: readonly string[];
  readonly seed: number | null;
  readonly cwd: string | null;
  readonly versions: Flat;
  readonly machine: Flat;
  readonly hashes: Flat;
  readonly sizes: Readonly<Record<string, number>>;
  /** Every option by its dotted key. */
  readonly config: Flat;
  readonly state: RunState;
  /** Who trains it now. */
  readonly holder: { readonly pid: number; readonly host: string; readonly since: string } | null;
}

export interface Checkpoint {
  readonly path: string;
  readonly created: string;
  readonly n_training_samples: number;
  readonly bytes: number;
}

export interface LogLine {
  readonly level: string;
  readonly time: string;
  readonly message: string;
}

/** `counts[i]` latents lie between `edges[i]` and `edges[i + 1]`. */
export interface Histogram {
  readonly step: number;
  readonly sae: string;
  readonly name: string;
  readonly counts: readonly number[];
  readonly edges: readonly number[];
}

/** Something a person should know of a run, with the numbers it is said from. */
export interface Advice {
  readonly rule: string;
  readonly level: 'warning' | 'note';
  /** Of which of several SAEs. */
  readonly sae: string;
  readonly seen: string;
  readonly try: string;
}

/** What a run failed with. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** All there is of a run but its metrics. */
export interface RunDetails {
  readonly id: string;
  readonly facts: RunFacts;
  readonly failure: Failure | null;
  readonly checkpoints: readonly Checkpoint[];
  readonly histograms: readonly Histogram[];
  readonly log: readonly LogLine[];
  readonly advice: readonly Advice[];
}

/** Lines of a run's metrics: by SAE (`''` for the only one), then by name. */
export interface RunSeries {
  readonly id: string;
  readonly generation: number;
  /** Up to here the file is in what is told. */
  readonly offset: number;
  /** False while only rows at even distances were read. */
  readonly is_complete: boolean;
  readonly rows: number;
  readonly saes: Readonly<Record<string, Readonly<Record<string, { steps: number[]; values: number[] }>>>>;
}

/** Rows that came: an event `rows`. */
export interface NewRows {
  readonly id: string;
  readonly rows: readonly Readonly<Record<string, number | string | null>>[];
}
