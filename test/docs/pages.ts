import { readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import MarkdownIt, { type Token } from 'markdown-it';

/** A block of code, or code in a sentence. */
export interface Block {
  /** The word behind its fence; '' of an indented one; `sentence`. */
  readonly language: string;
  readonly text: string;
  /** Page and line, as an editor opens it. */
  readonly where: string;
  /** Why nobody can run it here: `<!-- run: no, REASON -->` above it says so. */
  readonly notRun: string | null;
}

/** A page of the documentation, as far as tests look at it. */
export interface Page {
  readonly path: string;
  /** All of its code, in order. */
  readonly code: readonly Block[];
  readonly links: readonly string[];
  readonly headings: readonly string[];
}

const markdown = new MarkdownIt({ html: true });
const NOT_RUN = /^<!-- run: no, (.+) -->$/;
const FRONT_MATTER = /^---\n[\s\S]*?\n---\n/;

function readPage(path: string): Page {
  // As many lines as before, so that the numbers stay right.
  const text = readFileSync(path, 'utf8').replace(FRONT_MATTER, (matter) => matter.replace(/[^\n]/g, ''));
  const tokens = markdown.parse(text, {});
  const inline = tokens.flatMap(({ children }) => children ?? []);
  const reasonBefore = (i: number): string | null => NOT_RUN.exec(tokens[i - 1]?.content.trim() ?? '')?.[1] ?? null;
  let line = 0;
  const code = tokens.flatMap(({ type, info, content, map, children }, i): Block[] => {
    // Cells of a table have no place of their own.
    line = map?.[0] ?? line;
    const where = `${path}:${line + 1}`;
    if (type === 'fence' || type === 'code_block') {
      return [{ language: info, text: content, where, notRun: reasonBefore(i) }];
    }
    const words = (children ?? []).filter((child) => child.type === 'code_inline');
    return words.map(({ content: text }) => ({ language: 'sentence', text, where, notRun: null }));
  });
  return {
    path,
    code,
    links: inline.flatMap((token) => token.attrGet('href') ?? token.attrGet('src') ?? []),
    headings: tokens.flatMap(({ type }, i) => (type === 'heading_open' ? [wordsOf(tokens[i + 1])] : [])),
  };
}

const wordsOf = (token: Token | undefined): string => token?.children?.map(({ content }) => content).join('') ?? '';

/** README and every page of docs/. */
export const PAGES: readonly Page[] = [
  'README.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name))
    .sort(),
].map(readPage);

/** The anchors of a page, as GitHub makes them of its headings. */
export function anchorsOf({ headings }: Page): string[] {
  const seen = new Map<string, number>();
  return headings.map((heading) => {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const before = seen.get(slug) ?? 0;
    seen.set(slug, before + 1);
    return before === 0 ? slug : `${slug}-${before}`;
  });
}

/** The file that a relative link of a page leads to, and the anchor in it. */
export function targetOf(page: Page, link: string): { file: string; anchor: string } {
  const [path = '', anchor = ''] = decodeURI(link).split('#');
  return { file: path === '' ? page.path : normalize(join(page.path, '..', path)), anchor };
}

/** The TypeScript of a page, one block after the other: what a reader has who takes all of it. */
export const programOf = ({ code }: Page): string =>
  code
    .filter(({ language }) => language === 'ts')
    .map(({ text }) => text)
    .join('\n');
