import { grouped } from '../../format.ts';
import { ask } from '../../web/page/ask.ts';
import { element, shown } from '../../web/page/element.ts';
import { LONGEST_PROMPT } from '../longest-prompt.ts';
import type { PromptAnswer } from '../prompt.ts';
import { ALONE, type TextView, visible } from '../token.ts';
import { colour } from './examples.ts';
import { type Folder, latentLine } from './latent.ts';

/** Latents that are listed for a token, or for the whole prompt. */
const MOST_LISTED = 12;

/** The box for a prompt: which latents are active on which token, and the prompt by the activation of one latent. */
export class Prompt {
  readonly #folder: Folder;
  readonly #text = element('textarea', { rows: '3', id: 'prompt-text', maxlength: `${LONGEST_PROMPT}`, dir: 'auto' });
  readonly #send = element('button', { type: 'submit' }, 'show latents');
  readonly #said = element('p', { role: 'status', class: 'quiet' });
  readonly #tokens = element('p', { class: 'text prompt', dir: 'auto' });
  readonly #list = element('div');
  #answer: PromptAnswer | null = null;
  #asked = '';
  #latent: number | null = null;
  #chosen: number | null = null;
  #view: TextView;

  constructor(place: HTMLElement, folder: Folder, view: TextView) {
    this.#folder = folder;
    this.#view = view;
    const form = element(
      'form',
      {},
      element('label', { for: 'prompt-text' }, 'Prompt'),
      this.#text,
      element('div', { class: 'find' }, this.#send, this.#said),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#chosen = null;
      void this.#ask(this.#text.value);
    });
    this.#text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    place.append(form, this.#tokens, this.#list);
    place.hidden = false;
  }

  focus(): void {
    this.#text.focus();
  }

  /** Colours the prompt by this latent; null for none. */
  open(latent: number | null): void {
    if (latent === this.#latent) return;
    this.#latent = latent;
    if (this.#asked !== '') void this.#ask(this.#asked);
  }

  show(view: TextView): void {
    this.#view = view;
    this.#draw();
  }

  async #ask(text: string): Promise<void> {
    if (text === '') return;
    const latent = this.#latent;
    // At once: a latent that is opened meanwhile asks for this text again.
    this.#asked = text;
    this.#said.textContent = 'reading …';
    this.#send.disabled = true;
    try {
      const answer = await ask<PromptAnswer>('/api/activations', { method: 'POST', body: { text, latent } });
      if (latent !== this.#latent) return;
      this.#answer = answer;
      const { tokens, n_left_out } = answer;
      const rest = n_left_out === 0 ? '' : `; the ${grouped(n_left_out)} after them do not fit into the context`;
      this.#said.textContent = `${grouped(tokens.length)} tokens${rest}`;
      this.#draw();
    } catch (error) {
      this.#said.textContent = (error as Error).message;
    } finally {
      this.#send.disabled = false;
    }
  }

  #draw(): void {
    if (this.#answer === null) return;
    const { tokens, values } = this.#answer;
    const maximum = this.#maximum();
    const made = tokens.map((text, i) => {
      const button = element('button', { type: 'button', class: 'token' }, visible(text, this.#view));
      colour(button, values?.[i] ?? 0, maximum);
      if (values === null) button.dataset.tip = `${grouped(this.#answer?.n_active[i] ?? 0)} latents are active`;
      button.setAttribute('aria-pressed', `${i === this.#chosen}`);
      button.addEventListener('click', () => {
        this.#chosen = this.#chosen === i ? null : i;
        for (const [n, one] of made.entries()) one.setAttribute('aria-pressed', `${n === this.#chosen}`);
        this.#drawList();
      });
      return button;
    });
    this.#tokens.replaceChildren(...made);
    this.#drawList();
  }

  /** Of the latent on the text that was read, or here where it is more active than there. */
  #maximum(): number {
    const row = this.#latent === null ? undefined : this.#folder.rows.get(this.#latent);
    const known = row === undefined ? 0 : (this.#folder.table.max_activation[row] as number);
    return Math.max(known, ...(this.#answer?.values ?? []));
  }

  #drawList(): void {
    const { tokens, latents, n_active } = this.#answer as PromptAnswer;
    const chosen = this.#chosen;
    const listed = (chosen === null ? strongest(latents) : (latents[chosen] ?? [])).slice(0, MOST_LISTED);
    const title =
      chosen === null
        ? element('h3', {}, 'Most active in the prompt ', element('small', {}, 'choose a token to see its own'))
        : element(
            'h3',
            {},
            'On ',
            element('bdi', { class: 'chip' }, visible(tokens[chosen] ?? '', ALONE)),
            ' ',
            element('small', {}, `${grouped(n_active[chosen] ?? 0)} latents are active`),
          );
    const most = listed[0]?.[1] ?? 1;
    const lines = listed.map(([index, value]) => {
      const line = latentLine(index, value, value / most, this.#folder);
      line.title = `activation ${shown(value)}`;
      return line;
    });
    this.#list.replaceChildren(title, element('ol', { class: 'measured wide' }, ...lines));
  }
}

/** Each latent once, by its largest activation. */
function strongest(latents: PromptAnswer['latents']): (readonly [number, number])[] {
  const largest = new Map<number, number>();
  for (const [index, value] of latents.flat()) largest.set(index, Math.max(value, largest.get(index) ?? 0));
  return [...largest].sort((a, b) => b[1] - a[1]);
}
