/** A share: 12.5 % · 0.031 % · never */
export function percent(share: number): string {
  if (share === 0) return 'never';
  const value = 100 * share;
  return `${value < 0.001 ? value.toExponential(1) : Number(value.toPrecision(3))} %`;
}
