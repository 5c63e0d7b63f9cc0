import type { OptionRow } from './option-row.ts';

/**
 * Read the text of a flag or an environment variable as the type its option has. Text that does not fit stays text:
 * the schema then says what is expected.
 */
export function readText(row: OptionRow, text: string): unknown {
  const word = text.trim();
  if (row.types.includes('null') && /^(null|none)$/i.test(word)) return null;
  if (row.types.includes('boolean') && /^(true|false)$/i.test(word)) return word.toLowerCase() === 'true';
  const isNumber = word !== '' && Number.isFinite(Number(word));
  if (isNumber && row.types.some((type) => type === 'integer' || type === 'number')) return Number(word);
  const isList = row.types.some((type) => type.startsWith('list:'));
  // One name may stand for a list of one, and may have spaces.
  const isOneOf = row.types.includes('string') && !/^\[|,/.test(word);
  if (isList && !isOneOf) return readList(word);
  if (row.types.includes('object') || row.types.includes('record')) return readJson(word);
  return text;
}

/** A JSON list, or words between spaces or commas. */
function readList(text: string): unknown {
  if (text.startsWith('[')) return readJson(text);
  return text.split(/[\s,]+/).map((word) => {
    if (/^(null|none)$/i.test(word)) return null;
    return word !== '' && Number.isFinite(Number(word)) ? Number(word) : word;
  });
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
