import { readdirSync, readFileSync } from 'node:fs';

/** What a process holds at a moment. */
export interface Sample {
  minutes: number;
  rssBytes: number;
  files: number;
  threads: number;
}

/** What the kernel says of a process (proc(5)). */
export function sample(pid: number, minutes: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const number = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  const files = readdirSync(`/proc/${pid}/fd`).length;
  return { minutes, rssBytes: number('VmRSS') * 1024, files, threads: number('Threads') };
}

/** How much a quantity grows in a minute: the slope of the line that fits its samples best. */
export function slope(samples: readonly Sample[], of: (one: Sample) => number): number {
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [x, y] = [samples.map(({ minutes }) => minutes), samples.map(of)];
  const [middle, level] = [mean(x), mean(y)];
  const covariance = mean(x.map((value, i) => (value - middle) * ((y[i] as number) - level)));
  const variance = mean(x.map((value) => (value - middle) ** 2));
  return variance === 0 ? 0 : covariance / variance;
}
