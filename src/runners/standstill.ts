import type { Logger } from '../log.ts';

const TICK_MS = 500;
/** Later than this a tick is worth a word. */
const LATE_MS = 1_000;
/** A program that is often late is told so this often. */
const TOLD_EVERY_MS = 60_000;

/**
 * Says when Node's event loop stood still: no message was taken meanwhile, and no signal heard. The worker waits.
 *
 * @returns ends the watching
 */
export function watchForStandstill(log: Logger): () => void {
  let due = performance.now() + TICK_MS;
  let quietUntil = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    const lateMs = now - due;
    due = now + TICK_MS;
    if (lateMs < LATE_MS || now < quietUntil) return;
    quietUntil = now + TOLD_EVERY_MS;
    const seconds = (lateMs / 1_000).toFixed(1);
    log.warn(
      `Node stood still for ${seconds} s: its program computed, a sink was slow, or the machine slept; training waited`,
    );
  }, TICK_MS).unref();
  return () => clearInterval(timer);
}
