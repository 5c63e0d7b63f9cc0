import { styleText } from 'node:util';
import { createLogUpdate } from 'log-update';
import { plainText, redact } from '../log.ts';
import { fitLine } from './terminal.ts';

/** Redrawing more often only flickers and costs a slow connection its bandwidth. */
const REDRAW_MS = 100;
/** Without a terminal, one plain line as often as this. */
const PLAIN_LINE_MS = 10_000;
const USUAL_COLUMNS = 80;

/** Where a line is drawn. */
export interface LiveLineOptions {
  /** Default stderr, so that stdout stays free for data. */
  out?: NodeJS.WriteStream | undefined;
  /** Only what is printed with `warn`. */
  quiet?: boolean | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  /** Monotonic milliseconds. */
  now?: (() => number) | undefined;
}

/**
 * Lines, and below them one that is drawn in place. Without a TTY (or with TERM=dumb, CI) it becomes a plain line every
 * ten seconds. A terminal that goes away is ignored (faults L9).
 */
export class LiveLine {
  readonly #out: NodeJS.WriteStream;
  readonly #quiet: boolean;
  readonly #now: () => number;
  readonly #live: ReturnType<typeof createLogUpdate> | null;
  readonly #colour: boolean;
  #open = true;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #line = '';

  constructor({
    out = process.stderr,
    quiet = false,
    env = process.env,
    now = () => performance.now(),
  }: LiveLineOptions = {}) {
    this.#out = out;
    this.#quiet = quiet;
    this.#now = now;
    const dumb = env.TERM === 'dumb' || Boolean(env.CI);
    this.#live = out.isTTY && out.columns > 0 && !dumb && !quiet ? createLogUpdate(out, { showCursor: true }) : null;
    this.#colour = this.#live !== null && !env.NO_COLOR;
    out.on('error', () => {
      this.#open = false;
    });
  }

  /** A line that stays, above the live one. */
  print(line: string): void {
    if (!this.#quiet) this.warn(line);
  }

  /** A line that stays, quiet or not. */
  warn(line: string): void {
    if (!this.#open) return;
    this.#live?.clear();
    this.#out.write(`${redact(line)}\n`);
    if (this.#line !== '') this.#live?.(this.#line);
  }

  /** `name  value`, the name in bold where there are colours. */
  field(name: string, value: string): void {
    this.print(`${this.bold(name.padEnd(10))} ${plainText(value)}`);
  }

  bold(text: string): string {
    return this.#colour ? styleText('bold', text, { validateStream: false }) : text;
  }

  /** Draws these parts, the most important first: as many as fit. */
  draw(parts: readonly string[]): void {
    if (!this.#open || this.#quiet) return;
    const now = this.#now();
    if (now - this.#drawnAt < (this.#live === null ? PLAIN_LINE_MS : REDRAW_MS)) return;
    this.#drawnAt = now;
    const columns = this.#out.columns > 0 ? this.#out.columns : USUAL_COLUMNS;
    this.#line = fitLine(parts.map(plainText), this.#live === null ? Number.POSITIVE_INFINITY : columns - 1);
    if (this.#live === null) this.#out.write(`${this.#line}\n`);
    else this.#live(this.#line);
  }

  /** What was drawn last stays where it is. */
  end(): void {
    if (this.#live !== null && this.#line !== '') this.#live.done();
    this.#line = '';
  }
}
