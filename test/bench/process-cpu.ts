import { readdirSync, readFileSync } from 'node:fs';

const TICKS_A_SECOND = 100;

/** What stands behind a process's name in its stat (proc(5)), whatever the name holds. */
const statOf = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');

/** Seconds of CPU of a process so far. */
export function cpuSeconds(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

/** The processes that a process started, and those started by them. */
export function descendants(pid: number): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => {
      try {
        return Number(statOf(one)[1]) === pid;
      } catch {
        return false; // gone meanwhile
      }
    });
  return children.flatMap((child) => [child, ...descendants(child)]);
}
