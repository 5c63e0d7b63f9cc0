// `npm run docs`: README, docs/ and the API of src/index.ts as one folder of pages, docs-site, that opens from disk and
// from any host. An export without documentation, a dead link or a page without a place ends the build.
import { readdirSync, readFileSync } from 'node:fs';

/** The parts of the site; the front matter of each names its pages, in order. */
const PARTS = ['docs/guide.md', 'docs/concepts.md', 'docs/reference.md'];

const placed = PARTS.map((part) => readFileSync(part, 'utf8')).join('\n');
const homeless = readdirSync('docs')
  .filter((name) => name.endsWith('.md') && !PARTS.includes(`docs/${name}`))
  .filter((name) => !placed.includes(`: ${name}\n`));
if (homeless.length > 0) {
  throw new Error(`no place on the site: ${homeless.join(', ')}. Name them in the front matter of ${PARTS.join(', ')}`);
}

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'sae-lens-ts',
  entryPoints: ['src/index.ts'],
  readme: 'README.md',
  projectDocuments: PARTS,
  out: 'docs-site',
  customCss: 'docs/site.css',
  searchInDocuments: true,
  sort: ['kind', 'instance-first', 'alphabetical-ignoring-documents'],
  // Anchors as they are on GitHub.
  sluggerConfiguration: { lowercase: true },
  highlightLanguages: ['typescript', 'javascript', 'python', 'shellscript', 'json', 'yaml'],
  // What a page from disk wants: icons that it has in itself, and the name of the first page. Tables that scroll can be
  // reached by the keyboard.
  plugin: [
    ({ renderer }) => {
      renderer.on('endPage', (page) => {
        page.contents = page.contents
          ?.replaceAll(/href="[^"]*icons\.svg#/g, 'href="#')
          .replaceAll(/href="(\.\.\/)+(?=["#])/g, '$&index.html')
          .replaceAll('<table>', '<table tabindex="0">');
      });
    },
  ],
  disableSources: true,
  disableGit: true,
  // `tsc` has checked them.
  skipErrorChecking: true,
  requiredToBeDocumented: ['Class', 'Interface', 'Function', 'Variable', 'TypeAlias', 'Enum', 'Method', 'Accessor'],
  validation: { notExported: false, notDocumented: true, invalidLink: true, invalidPath: true },
  treatWarningsAsErrors: true,
};
