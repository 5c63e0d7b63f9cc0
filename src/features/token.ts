/** How the text of tokens is shown. */
export interface TextView {
  /** Spaces as · */
  readonly marks: boolean;
  /** A new line begins where the text has one; else there is only its sign. */
  readonly breaks: boolean;
}

/** In lists, where a token stands alone. */
export const ALONE: TextView = { marks: true, breaks: false };

/**
 * Characters that show nothing, or change the direction or order of what follows. Each becomes its number, so that no
 * token can hide, or rearrange its neighbours.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;

/** A token as people can see it. */
export function visible(token: string, { marks, breaks }: TextView): string {
  if (token === '') return '⟨empty⟩';
  const seen = token.replace(UNSEEN, (character) => {
    if (character === '\n') return breaks ? '↵\n' : '↵';
    if (character === '\t') return marks ? '→' : '\t';
    // Joiners belong to letters and emoji; between isolated tokens they do no harm.
    if (character === '\u200c' || character === '\u200d') return character;
    return `⟨U+${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
  return marks ? seen.replaceAll(' ', '·') : seen;
}
