import { createLogUpdate } from 'log-update';
import { plainText, redact } from '../log.ts';

/** Redrawing more often only flickers. */
const REDRAW_MS = 100;
/** Without a terminal, one plain line as often as this. */
const PLAIN_LINE_MS = 10_000;

/** One line that says how far a piece of work is: in place on a terminal, now and then in a log. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  readonly #live: ReturnType<typeof createLogUpdate> | null;
  readonly #quiet: boolean;
  #line = '';
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor({ quiet = false, out = process.stderr }: { quiet?: boolean; out?: NodeJS.WriteStream } = {}) {
    const dumb = process.env.TERM === 'dumb' || Boolean(process.env.CI);
    this.#out = out;
    this.#quiet = quiet;
    this.#live = out.isTTY && out.columns > 0 && !dumb && !quiet ? createLogUpdate(out, { showCursor: true }) : null;
  }

  /** How far it is now; shown when the last line has been there long enough. */
  show(text: string): void {
    const now = performance.now();
    if (this.#quiet || now - this.#drawnAt < (this.#live === null ? PLAIN_LINE_MS : REDRAW_MS)) return;
    this.#drawnAt = now;
    const plain = plainText(redact(text));
    if (this.#live === null) this.#out.write(`${plain}\n`);
    else {
      this.#line = plain.length < this.#out.columns ? plain : `${plain.slice(0, Math.max(0, this.#out.columns - 2))}…`;
      this.#live(this.#line);
    }
  }

  /** A line that stays, above the live one. */
  print(line: string): void {
    this.#live?.clear();
    this.#out.write(`${redact(line)}\n`);
    if (this.#line !== '') this.#live?.(this.#line);
  }

  /** The live line goes away. */
  end(): void {
    this.#live?.clear();
    this.#line = '';
  }
}
