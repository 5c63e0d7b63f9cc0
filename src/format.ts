/** Numbers as people read them. */

/** 950 · 17.5k · 4.1M */
export function compact(value: number): string {
  const size = Math.abs(value);
  if (size >= 999_950_000) return `${(value / 1e9).toFixed(1)}B`;
  if (size >= 999_950) return `${(value / 1e6).toFixed(1)}M`;
  if (size >= 9_999.5) return `${(value / 1e3).toFixed(1)}k`;
  return size >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/** 12 345 with a thin separator nobody confuses with a decimal point. */
export const grouped = (value: number): string =>
  Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ');

/** 1 file · 12 files */
export const counted = (count: number, noun: string): string => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;

/** Four significant digits; small values keep their exponent. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toString();
}

/** 42s · 3m 05s · 2h 07m · 3d 04h */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86_400)}d ${two(Math.floor((s % 86_400) / 3600))}h`;
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/**
 * 512 B · 62.1 MB · 571 MB · 2.1 GB
 *
 * @param digits of a number with three before its point
 */
export function bytes(value: number, digits = 3): string {
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), BYTE_UNITS.length - 1);
  const scaled = value / 1000 ** power;
  const before = Math.floor(scaled).toString().length;
  const after = power === 0 ? 0 : Math.min(Math.max(digits - before, 0), digits - 2);
  return `${scaled.toFixed(after)} ${BYTE_UNITS[power]}`;
}

/** The last values as a row of bars, lowest to highest; nothing for fewer than two. */
export function sparkline(values: readonly number[], width: number): string {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 2 || width < 1) return '';
  const count = Math.min(width, finite.length);
  // Each bar is the mean of its share of the run, so that a spike of one step does not draw the whole picture.
  const means = Array.from({ length: count }, (_, i) => {
    const share = finite.slice(Math.floor((i * finite.length) / count), Math.floor(((i + 1) * finite.length) / count));
    return share.reduce((sum, v) => sum + v, 0) / share.length;
  });
  const low = Math.min(...means);
  const span = Math.max(...means) - low;
  // A number that does not move has no shape to draw.
  if (span === 0) return '';
  return means.map((v) => BARS[Math.round(((v - low) / span) * (BARS.length - 1))]).join('');
}

const BARS = '▁▂▃▄▅▆▇█';
