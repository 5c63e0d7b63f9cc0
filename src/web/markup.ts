/** Markup whose words are escaped already. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
export type Part = string | number | Markup | readonly Markup[];

/** Words of a run are words here, whatever they hold (faults X8). */
export function html(parts: TemplateStringsArray, ...values: Part[]): Markup {
  const texts = values.map((value) => {
    if (value instanceof Markup) return value.text;
    if (typeof value === 'object') return value.map(({ text }) => text).join('');
    return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  });
  return new Markup(parts.map((part, i) => part + (texts[i] ?? '')).join(''));
}
