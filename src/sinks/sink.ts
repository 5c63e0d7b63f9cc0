/** What a run looks like from outside. Steps count from 0, as SAELens does. */
export type RunEvent =
  | RunHeader
  /** What is being done before or between steps; `total` where the length is known. */
  | { kind: 'stage'; stage: string; message: string; done: number | null; total: number | null }
  /** The model is loaded and every size is known. */
  | {
      kind: 'started';
      d_in: number;
      /** Of several SAEs the sum. */
      d_sae: number;
      saes?: Readonly<Record<string, { readonly d_sae: number }>>;
      total_steps: number;
      device: string;
    }
  /**
   * Numbers of a step under SAELens' names (reference/saelens.md §4.3), evaluations and sparsity included. `sae`, here
   * and below, is the name of the one of several SAEs that an event is of.
   */
  | { kind: 'metrics'; step: number; sae?: string; row: Record<string, number> }
  /** `counts[i]` values lie between `edges[i]` and `edges[i + 1]`. */
  | { kind: 'histogram'; step: number; sae?: string; name: string; counts: readonly number[]; edges: readonly number[] }
  /** A folder is complete: in its place, with manifest. */
  | {
      kind: 'checkpoint';
      sae?: string;
      path: string;
      n_training_samples: number;
      final: boolean;
      /** One of many that only the newest are kept of. */
      recurring: boolean;
      /** Files of the training state that belong to it, where they are kept. */
      optimizer_state: string | null;
      activations_store: string | null;
    }
  | RunProfile
  | { kind: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; message: string }
  | RunSummary;

/** Known before the worker starts; the first thing a user sees. */
export interface RunHeader {
  kind: 'header';
  run_name: string;
  model: string;
  hook: string;
  dataset: string;
  /** Of several SAEs all there are, with `+` between. */
  architecture: string;
  d_in: number | null;
  /** Null while `d_in` decides it; of several SAEs the sum. */
  d_sae: number | null;
  /** Several SAEs by name. */
  saes?: Readonly<Record<string, { readonly architecture: string; readonly d_sae: number | null }>>;
  training_tokens: number;
  total_steps: number;
  device: string;
  folder: string;
}

/** Where the time of the steps went; said after the last one, when it was asked for. */
export interface RunProfile {
  kind: 'profile';
  n_steps: number;
  /** Each without the parts inside it. */
  parts: readonly { part: string; seconds: number; calls: number }[];
  /** What the products with the encoder alone take on this device at its best, for all steps. */
  product_s: number;
}

/** The end of a run that ended as it should, or was stopped by the user. */
export interface RunSummary {
  kind: 'finished';
  stopped: boolean;
  n_training_steps: number;
  elapsed_s: number;
  output: string | null;
  /** The last complete checkpoint, where there is one. */
  checkpoint: string | null;
  /** Commands to paste next, each with what it does. */
  next: readonly { command: string; purpose: string }[];
}

/**
 * Somewhere a run is shown or kept. `consume` returns at once, whatever the sink's own state; what it could not take
 * is dropped and counted. It may throw: the group then goes on without it. Training never notices (promise P6).
 */
export interface Sink {
  readonly name: string;
  /** Takes an event at once; what it throws costs the run nothing. */
  consume(event: RunEvent): void;
  /** Writes out what is left, for at most so long. */
  close(deadlineMs: number): Promise<void>;
}
