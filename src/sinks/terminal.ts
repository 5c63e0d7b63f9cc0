import { styleText } from 'node:util';
import { createLogUpdate } from 'log-update';
import { plainText, redact } from '../log.ts';
import { duration, grouped, significant, sparkline } from './format.ts';
import { KEYS, Progress } from './progress.ts';
import type { RunEvent, RunHeader, RunSummary, Sink } from './sink.ts';

/** Redrawing more often only flickers and costs a slow connection its bandwidth. */
const REDRAW_MS = 100;
/** Without a terminal, one plain line as often as this. */
const PLAIN_LINE_MS = 10_000;
/** A terminal that tells no width, or none that can be true. */
const USUAL_COLUMNS = 80;

export interface TerminalOptions {
  /** Default stderr, so that stdout stays free for data. */
  out?: NodeJS.WriteStream | undefined;
  /** Header, progress and summary are left out; warnings and errors stay. */
  quiet?: boolean | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  /** Monotonic milliseconds. */
  now?: (() => number) | undefined;
}

/**
 * The run on a terminal: a header in the first second, one live line, a summary at the end. Without a TTY (or with
 * TERM=dumb, CI) the live line becomes a plain line every ten seconds. A terminal that goes away is ignored.
 */
export class TerminalSink implements Sink {
  readonly name = 'terminal';
  readonly #out: NodeJS.WriteStream;
  readonly #quiet: boolean;
  readonly #now: () => number;
  readonly #live: ReturnType<typeof createLogUpdate> | null;
  readonly #colour: boolean;
  readonly #progress = new Progress();
  #open = true;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #lastStage: string | null = null;
  #line = '';
  /** The header could not say the sizes or the device. */
  #leftOpen = false;

  constructor({
    out = process.stderr,
    quiet = false,
    env = process.env,
    now = () => performance.now(),
  }: TerminalOptions = {}) {
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

  /** A line above the live one: the logger prints through this. */
  print(line: string): void {
    if (!this.#open) return;
    this.#live?.clear();
    this.#out.write(`${redact(line)}\n`);
    if (this.#line !== '') this.#live?.(this.#line);
  }

  consume(event: RunEvent): void {
    this.#progress.consume(event, this.#now() / 1000);
    if (!this.#open || this.#quiet) return;
    if (event.kind === 'header') for (const line of this.#header(event)) this.print(line);
    else if (event.kind === 'started' && this.#leftOpen) {
      this.print(this.#field('', `${event.d_in} → ${grouped(event.d_sae)} latents on ${event.device}`));
    } else if (event.kind === 'stage') this.#stage(event.message);
    else if (event.kind === 'metrics') this.#draw();
    else if (event.kind === 'checkpoint' && !event.final) this.print(`saved ${plainText(event.path)}`);
    else if (event.kind === 'finished') {
      this.#endLine();
      for (const line of this.#summary(event)) this.print(line);
    }
  }

  async close(): Promise<void> {
    this.#endLine();
  }

  /** The live line; also the way to see a stage that takes its time (`done` of `total`). */
  #draw(): void {
    // A plain log has said the stage already, when it began.
    if (this.#live === null && this.#progress.stage !== null) return;
    const now = this.#now();
    if (now - this.#drawnAt < (this.#live === null ? PLAIN_LINE_MS : REDRAW_MS)) return;
    this.#drawnAt = now;
    const columns = this.#columns;
    this.#line =
      this.#progress.stage === null
        ? fitLine(this.#progress.parts(), this.#out.isTTY ? columns - 1 : Number.POSITIVE_INFINITY)
        : this.#stageLine(columns);
    if (this.#live === null) this.#out.write(`${this.#line}\n`);
    else this.#live(this.#line);
  }

  #stage(message: string): void {
    const fresh = message !== this.#lastStage;
    this.#lastStage = message;
    // A plain log wants each stage once, at its beginning; a live line shows its progress as well.
    if (this.#live === null) {
      if (fresh) this.print(plainText(message));
      return;
    }
    if (fresh) this.#drawnAt = Number.NEGATIVE_INFINITY;
    this.#draw();
  }

  #stageLine(columns: number): string {
    const text = plainText(this.#progress.stage ?? '');
    return text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 2))}…`;
  }

  #endLine(): void {
    if (this.#live !== null && this.#line !== '') this.#live.done();
    this.#line = '';
  }

  #header(run: RunHeader): string[] {
    this.#leftOpen = run.d_in === null || run.device === 'auto';
    const size = run.d_sae === null ? '' : ` · ${run.d_in ?? '?'} → ${grouped(run.d_sae)} latents`;
    return [
      this.#field('run', run.run_name),
      this.#field('sae', `${run.architecture}${size}`),
      this.#field('model', `${run.model} · ${run.hook}`),
      this.#field(
        'data',
        `${run.dataset} · ${grouped(run.training_tokens)} tokens · ${grouped(run.total_steps)} steps`,
      ),
      this.#field('device', run.device),
      this.#field('files', run.folder),
    ];
  }

  #summary(run: RunSummary): string[] {
    const steps = `${grouped(run.n_training_steps)} steps in ${duration(run.elapsed_s)}`;
    const lines = [this.#bold(run.stopped ? `Stopped after ${steps}` : `Done: ${steps}`)];
    const width = Math.min(30, this.#columns - 40);
    for (const [label, key] of SUMMARY) {
      const value = this.#progress.last[key];
      if (value === undefined) continue;
      const history = sparkline(this.#progress.history(key), width);
      lines.push(`  ${label.padEnd(20)} ${significant(value).padEnd(10)} ${history}`.trimEnd());
    }
    const dead = this.#progress.last[KEYS.dead];
    if (dead !== undefined && this.#progress.dSae > 0) {
      lines.push(`  ${'dead latents'.padEnd(20)} ${dead} of ${grouped(this.#progress.dSae)}`);
    }
    if (run.output !== null) lines.push(this.#field('SAE', run.output));
    else if (run.checkpoint !== null) lines.push(this.#field('checkpoint', run.checkpoint));
    if (run.next.length > 0) lines.push('Next:');
    for (const { command, purpose } of run.next) lines.push(`  ${plainText(command)}`, `      ${plainText(purpose)}`);
    return lines;
  }

  #field(name: string, value: string): string {
    return `${this.#bold(name.padEnd(10))} ${plainText(value)}`;
  }

  #bold(text: string): string {
    return this.#colour ? styleText('bold', text, { validateStream: false }) : text;
  }

  get #columns(): number {
    return this.#out.columns > 0 ? this.#out.columns : USUAL_COLUMNS;
  }
}

const SUMMARY: readonly [string, string][] = [
  ['loss', KEYS.loss],
  ['explained variance', KEYS.explainedVariance],
  ['L0', KEYS.l0],
  ['CE loss score', KEYS.ceLossScore],
];

/** As many parts as the width allows; what is cut is the least important, at the end. */
export function fitLine(parts: readonly string[], width: number): string {
  let line = parts[0]?.slice(0, Math.max(0, width)) ?? '';
  for (const part of parts.slice(1)) {
    const longer = `${line} · ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line;
}
