import { styleText } from 'node:util';
import { createLogUpdate } from 'log-update';
import { redact } from '../log.ts';
import { plainText } from '../plain-text.ts';

/** Redrawing more often only flickers and costs a slow connection its bandwidth. */
const REDRAW_MS = 100;
/** Without a terminal, one plain line as often as this. */
const PLAIN_LINE_MS = 10_000;
/** A terminal that tells no width, or none that can be true. */
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
    // A terminal without a size (a container's, before it is told) would show nothing of a line drawn in place.
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

  /** Whether there is a line drawn in place, or only a log. */
  get isLive(): boolean {
    return this.#live !== null;
  }

  get columns(): number {
    return this.#out.columns > 0 ? this.#out.columns : USUAL_COLUMNS;
  }

  /** `name  value`, the name in bold where there are colours. */
  field(name: string, value: string): string {
    return `${this.bold(name.padEnd(10))} ${plainText(value)}`;
  }

  bold(text: string): string {
    return this.#colour ? styleText('bold', text, { validateStream: false }) : text;
  }

  /**
   * Draws these parts, the most important first: as many as fit; and whole lines below them, cut where they do not.
   * Too soon after the last, only what is `fresh`.
   */
  draw(parts: readonly string[], fresh = false, below: readonly string[] = []): void {
    if (!this.#open || this.#quiet) return;
    const now = this.#now();
    if (!fresh && now - this.#drawnAt < (this.#live === null ? PLAIN_LINE_MS : REDRAW_MS)) return;
    this.#drawnAt = now;
    const width = this.#out.isTTY ? this.columns - 1 : Number.POSITIVE_INFINITY;
    this.#line = [parts, ...below.map((line) => [line])].map((line) => fitLine(line.map(plainText), width)).join('\n');
    if (this.#live === null) this.#out.write(`${this.#line}\n`);
    else this.#live(this.#line);
  }

  /** What was drawn last stays where it is. */
  end(): void {
    if (this.#live !== null && this.#line !== '') this.#live.done();
    this.#line = '';
  }
}

/** As many parts as the width allows; what is cut is the least important, at the end. */
function fitLine(parts: readonly string[], width: number): string {
  let line = parts[0] ?? '';
  if (line.length > width) line = `${line.slice(0, Math.max(0, width - 1))}…`;
  for (const part of parts.slice(1)) {
    const longer = `${line} · ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line;
}
