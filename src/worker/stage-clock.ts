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
/**
 * A stage that moves on slowly, by steps of minutes, is given so many times its usual step where that is longer than the
 * above. Never where it is shorter: a step may wait for a hub that is down, a buffer that is filled, or a compiler, and
 * the quick steps before it tell nothing of that.
 */
const USUAL_STEPS = 20;
const STEPS_BEFORE_JUDGED = 5;
const NEWEST_STEPS = 101;
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
  #movedAt = 0;
  #stage: string | null = null;
  /** By stage, between two words of it that followed each other. */
  readonly #stepsMs = new Map<string, number[]>();

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
    this.#stage = null;
    this.#stepsMs.clear();
    if (!on) return;
    this.touch();
    this.#tickAt = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  touch(): void {
    this.#progressAt = performance.now();
  }

  /** The last stage the worker named. */
  get stage(): string | null {
    return this.#stage;
  }

  /** The worker named a stage: it began, or moved on. */
  moved(stage: string): void {
    this.touch();
    if (stage === this.#stage) {
      const steps = this.#stepsMs.get(stage) ?? [];
      this.#stepsMs.set(stage, [...steps, this.#progressAt - this.#movedAt].slice(-NEWEST_STEPS));
    }
    this.#stage = stage;
    this.#movedAt = this.#progressAt;
  }

  #deadlineMs(): number {
    const stage = this.#stage ?? 'default';
    const least = this.#deadlinesMs[stage] ?? this.#deadlinesMs.default;
    const steps = this.#stepsMs.get(stage) ?? [];
    if (steps.length < STEPS_BEFORE_JUDGED) return least;
    const usual = steps.toSorted((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
    return Math.max(least, USUAL_STEPS * usual);
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#tickAt > OWN_SLEEP_MS) {
      this.#progressAt += now - this.#tickAt;
      this.#movedAt += now - this.#tickAt;
    }
    this.#tickAt = now;
    const silentMs = now - this.#progressAt;
    if (silentMs <= this.#deadlineMs()) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#onStall(this.#stage, silentMs);
  }
}
