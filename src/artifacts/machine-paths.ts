/** What begins like a place on a disk; names of the hub, hook points and relative patterns do not. */
const MACHINE_PATH = /^([\\/]|~([\\/]|$)|\.{1,2}([\\/]|$)|[A-Za-z]:[\\/]|file:\/\/)/;

/** Whether this text can only be meant as a place on a disk. */
export const isMachinePath = (text: string): boolean => MACHINE_PATH.test(text);

/** Names of folders on this machine, and so of its users, are nobody's business: the last part says what was meant. */
export function withoutMachinePaths(value: unknown): unknown {
  if (typeof value === 'string') {
    return isMachinePath(value) ? (value.split(/[\\/]/).filter(Boolean).at(-1) ?? '') : value;
  }
  if (Array.isArray(value)) return value.map(withoutMachinePaths);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutMachinePaths(inner)]));
}
