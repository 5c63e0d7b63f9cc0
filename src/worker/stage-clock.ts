const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** How long a stage may go without a sign of progress; `default` for those not named. */
const STAGE_DEADLINES_MS = {
  // Both may download gigabytes inside one call of a library that tells us nothing.
  load_model: 2 * HOUR_MS,
  open_dataset: 2 * HOUR_MS,
  // The geometric median goes over all rows of the buffer many times.
  init_b_dec: HOUR_MS,
  default: 10 * MINUTE_MS,
};
const TICK_MS = 1_000;
/** A longer gap between two ticks means that we slept ourselves (laptop lid, SIGSTOP), not that the worker did. */
const OWN_SLEEP_MS = 5 * TICK_MS;

/** Notices a worker that is alive and does nothing. Only real progress counts: an event, a row, a batch, an answer. */
export class StageClock {
  readonly #deadlinesMs: Readonly<Record<string, number>> & { readonly default: number };
  readonly #onStall: (stage: string | null, silentMs: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #progressAt = 0;
  #tickAt = 0;
  /** The last stage the worker named. */
  stage: string | null = null;

  /** @param deadlinesMs Over the table above. */
  constructor(
    deadlinesMs: Readonly<Record<string, number>>,
    onStall: (stage: string | null, silentMs: number) => void,
  ) {
    this.#deadlinesMs = { ...STAGE_DEADLINES_MS, ...deadlinesMs };
    this.#onStall = onStall;
  }

  /** Runs while there is work. */
  set running(on: boolean) {
    if (on === (this.#timer !== undefined)) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (!on) return;
    this.touch();
    this.#tickAt = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  touch(): void {
    this.#progressAt = performance.now();
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#tickAt > OWN_SLEEP_MS) this.#progressAt += now - this.#tickAt;
    this.#tickAt = now;
    const deadline = this.#deadlinesMs[this.stage ?? 'default'] ?? this.#deadlinesMs.default;
    const silentMs = now - this.#progressAt;
    if (silentMs <= deadline) return;
    this.running = false;
    this.#onStall(this.stage, silentMs);
  }
}
