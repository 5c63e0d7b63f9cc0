/** `promise`, or what `late` says when it takes longer. */
export async function within<T, L>(promise: Promise<T>, ms: number, late: () => L): Promise<T | Awaited<L>> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  const token = {};
  const first = await Promise.race([promise, timeout.then(() => token)]).finally(() => clearTimeout(timer));
  return first === token ? await late() : (first as T);
}

/** A killed process is gone in milliseconds, unless the kernel holds it: a disk or a driver that does not answer. */
const KILLED_DEADLINE_MS = 10_000;

/** Waits for a killed process, not for ever; one that stays is named in a warning. */
export async function untilGone(exited: Promise<unknown>, pid: number | undefined): Promise<void> {
  await within(exited, KILLED_DEADLINE_MS, () =>
    process.emitWarning(`Python process ${pid} was killed and is still there after ${KILLED_DEADLINE_MS / 1000} s`, {
      type: 'SaeLensWarning',
      detail: 'The kernel holds it: look at its disk or its GPU driver, and at `ps -o stat,wchan`',
    }),
  );
}
