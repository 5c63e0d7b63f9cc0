import { readdirSync, readFileSync } from 'node:fs';

/** Variable that marks every process a test file starts; the worker's environment allows it (SAE_LENS_TS_*). */
export const MARKER = 'SAE_LENS_TS_TEST_MARKER';

/** A value of the marker that no other test file uses. */
export const newMarker = (): string => `${process.pid}-${Math.random().toString(36).slice(2)}`;

/** Whether a process runs; a zombie is dead, its parent only has not looked yet. */
export function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0] !== 'Z';
  } catch {
    return false;
  }
}

/** Pids of living processes that carry the marker. */
export function marked(marker: string): number[] {
  const wanted = `${MARKER}=${marker}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        return environment.includes(wanted) && isAlive(pid);
      } catch {
        return false; // gone meanwhile
      }
    });
}

/** Waits until no marked process is alive; returns those that are after the deadline. */
export async function orphans(marker: string, deadlineMs = 5_000): Promise<number[]> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const left = marked(marker);
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
