import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';

/** Notes in the page when it was painted first, when its runs stood there and when a curve was drawn. */
export const PAINTED = `
window.benched = {};
new PerformanceObserver((list) => {
  for (const { name, startTime } of list.getEntries())
    if (name === 'first-contentful-paint') window.benched.paint = startTime;
}).observe({ type: 'paint', buffered: true });
new MutationObserver(() => {
  const { benched } = window;
  if (document.querySelector('#runs .name') !== null) benched.list ??= performance.now();
  if (document.querySelector('#charts figure:not([hidden]) canvas') !== null) benched.curve ??= performance.now();
}).observe(document, { childList: true, subtree: true });
`;

/** Notes in the page the last value under the curve of the loss, and when the picture with it was painted. */
export const LIVE_DELAYS = `
window.drawn = [];
new MutationObserver(() => {
  const text = document.querySelector('[data-key="losses/overall_loss"] .last')?.lastChild?.textContent ?? '';
  if (text === '' || text === '–' || text === window.last) return;
  window.last = text;
  requestAnimationFrame(() => requestAnimationFrame(() => window.drawn.push([text, Date.now()])));
}).observe(document, { childList: true, subtree: true, characterData: true });
`;

const ROWS_AT_ONCE = 10_000;

/** Makes a run's rows a million, of the values that they have; gives back the size of the file. */
export function writeMillionRows(path: string, count: number): number {
  const rows = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const file = openSync(path, 'w');
  for (let step = 0; step < count; step += ROWS_AT_ONCE) {
    const lines = Array.from({ length: ROWS_AT_ONCE }, (_, i) => {
      const row = rows[(step + i) % rows.length];
      return JSON.stringify({ ...row, step: step + i });
    });
    writeSync(file, `${lines.join('\n')}\n`);
  }
  closeSync(file);
  return statSync(path).size;
}
