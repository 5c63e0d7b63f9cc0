import { readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import MarkdownIt, { type Token } from 'markdown-it';

/** A block of code: fenced, with the word behind its fence, or indented, without one. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** Page and line, as an editor opens it. */
  readonly where: string;
}

/** A page of the documentation, as far as tests look at it. */
export interface Page {
  readonly path: string;
  readonly blocks: readonly Block[];
  /** Words of code within its text. */
  readonly words: readonly string[];
  readonly links: readonly string[];
  readonly headings: readonly string[];
}

const markdown = new MarkdownIt({ html: true });
const FRONT_MATTER = /^---\n[\s\S]*?\n---\n/;

function readPage(path: string): Page {
  // As many lines as before, so that the numbers stay right.
  const text = readFileSync(path, 'utf8').replace(FRONT_MATTER, (matter) => matter.replace(/[^\n]/g, ''));
  const tokens = markdown.parse(text, {});
  const inline = tokens.flatMap(({ children }) => children ?? []);
  return {
    path,
    blocks: tokens
      .filter(({ type }) => type === 'fence' || type === 'code_block')
      .map(({ info, content, map }) => ({ language: info, text: content, where: `${path}:${(map?.[0] ?? 0) + 1}` })),
    words: inline.filter(({ type }) => type === 'code_inline').map(({ content }) => content),
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
