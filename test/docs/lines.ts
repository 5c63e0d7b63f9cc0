import type { Block } from './pages.ts';

/** A line that a page tells its reader to type. */
export interface Line {
  readonly text: string;
  readonly where: string;
  readonly notRun: string | null;
}

const isShell = ({ language, text }: Block): boolean =>
  language === 'sh' || (language === '' && /^(sae-lens-ts|npx|npm|git|docker|eval) /.test(text.trimStart()));
/** In a sentence a command is often meant by its name alone; these need nothing behind it. */
const isInSentence = ({ language, text }: Block): boolean =>
  language === 'sentence' && /^(npx )?sae-lens-ts ((doctor|setup|pretrained|datasets)$|\S+ .)/.test(text);

/** The lines of a block, continued ones joined, without comments. */
export function linesOf(block: Block): Line[] {
  if (!isShell(block) && !isInSentence(block)) return [];
  return block.text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((text) => text !== '')
    .map((text) => ({ text, where: block.where, notRun: block.notRun }));
}
