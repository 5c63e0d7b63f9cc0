import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Ended } from '../command-line.ts';
import { linesOf } from './lines.ts';
import { type Block, PAGES, type Page, programOf } from './pages.ts';
import { readerForTests } from './reader.ts';
import { substituted } from './substitutes.ts';

/**
 * `npm run test:docs` runs everything. `npm test` runs the program of the first page, and the lines for which no Python is
 * started: nine programs are a minute of a core, and test/docs/types.test.ts checks each as a program there.
 */
const EVERYTHING = process.env.SAE_LENS_TS_DOCS === 'all';
const STARTS_PYTHON =
  /^npm start|^(npx )?sae-lens-ts (train|resume|eval|features|pretokenize|cache-activations|cache|hooks|doctor|datasets peek) /;
const FIRST_PAGE = 'README.md';
const isLong = (line: string): boolean => STARTS_PYTHON.test(`${line} `) && !line.includes('--dry-run');
/** Lines that serve pages until somebody ends them. */
const SERVES = /^sae-lens-ts (dashboard|features .* --serve)/;
/** What a program tells that shows it did what the page says. */
const TELLS: Readonly<Record<string, readonly RegExp[]>> = {
  'docs/typescript-api.md': [
    /^done .*output$/m,
    /^done 2048 \{ 'blocks\.0\.hook_resid_post': 32, 'blocks\.0\.hook_mlp_out': 32 \}$/m,
    /^SAE_INVALID an SAE folder holds cfg\.json/m,
  ],
  'docs/evaluation.md': [/^[\d.]+ null$/m], // one batch has no interval
  'docs/features.md': [/features \d+$/m],
  'docs/notebooks.md': [/^3\.\d+\.\d+ 2\.5$/m],
  'docs/pretrained.md': [/^topk 256 256$/m],
  'docs/sharing.md': [/^blocks\.0\.hook_resid_pre \d+$/m, /^blocks\.1\.hook_resid_pre \d+$/m],
};
/** Lines that nobody runs here, by the reason that stands above them. A new one is to be thought about. */
const NOT_RUN = {
  'needs Docker; npm run test:docker does it': 5,
  'takes minutes; what it prints is below': 23,
  'npm test installs both kernels and executes the notebook in them': 5,
};

const reader = await readerForTests();
beforeAll(async () => {
  await reader.prepare();
  if (EVERYTHING) await reader.interrupt();
});
afterAll(() => reader.close());

const told = { written: 0, substituted: 0, left: 0, not: {} as Record<string, number> };
const count = (text: string, run: string): number => (run === text ? told.written++ : told.substituted++);
const leave = (reason: string): void => {
  told.not[reason] = (told.not[reason] ?? 0) + 1;
};
/** Code in a sentence is often the same on several pages: once is enough. */
const seen = new Set<string>();
function isNew({ language, text }: Block): boolean {
  if (language !== 'sentence') return true;
  const size = seen.size;
  return seen.add(text).size > size;
}
/** Whether its program is run. */
const isRun = (page: string): boolean => EVERYTHING || page === FIRST_PAGE;
const hasCode = ({ code }: Page): boolean =>
  code.some((block) => block.language === 'ts' || linesOf(block).some(({ notRun }) => !notRun));
const words = ({ code, signal, stdout, stderr }: Ended): string =>
  `ended with ${code ?? signal}\n${stdout.slice(-2_000)}\n${stderr.slice(-2_000)}`;

async function readBlock(block: Block, page: string, folder: string): Promise<void> {
  if (block.language === 'yaml') reader.write(substituted(block.text, page), folder);
  if (block.language === 'ts' && isRun(page)) count(block.text, substituted(block.text, page));
  else if (block.language === 'ts') told.left++;
  for (const { text, where, notRun } of linesOf(block)) {
    const line = substituted(text, page);
    if (notRun) {
      leave(notRun);
    } else if (!EVERYTHING && isLong(line)) {
      told.left++;
    } else {
      const ended = await (SERVES.test(line) ? reader.serve(line, folder) : reader.run(line, folder));
      expect.soft(ended.code, `${where}: ${line}\n${words(ended)}`).toBe(0);
      count(text, line);
    }
  }
}

describe('a reader who types what the documentation says', () => {
  test.each(PAGES.filter(hasCode))(
    'gets along with $path',
    async (page) => {
      const folder = reader.open(page.path);
      for (const block of page.code.filter(isNew)) await readBlock(block, page.path, folder);
      const program = programOf(page);
      if (program === '' || !isRun(page.path)) return;
      const ended = await reader.program(substituted(program, page.path), folder);
      expect.soft(ended.code, `the program of ${page.path}: ${words(ended)}`).toBe(0);
      for (const said of TELLS[page.path] ?? []) expect.soft(ended.stdout).toMatch(said);
    },
    600_000,
  );

  test('finds everything run but what its page gives a reason for', () => {
    const unread = PAGES.filter((page) => !hasCode(page)).flatMap(({ code }) => code.flatMap(linesOf));
    for (const { notRun } of unread) leave(notRun as string);
    const left = told.left > 0 ? `, ${told.left} left to npm run test:docs` : '';
    const reasons = Object.entries(told.not).map(([reason, n]) => `, ${n} not run: ${reason}`);
    console.log(`${told.written} as written, ${told.substituted} with substitutes${left}${reasons.join('')}`);
    expect(told.not).toEqual(NOT_RUN);
  });
});
