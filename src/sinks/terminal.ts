import { counted, duration, grouped, significant, sparkline } from '../format.ts';
import { plainText } from '../plain-text.ts';
import { asCalled } from '../program-name.ts';
import { LiveLine, type LiveLineOptions } from './live-line.ts';
import { profileLines } from './profile-lines.ts';
import { KEYS, Progress } from './progress.ts';
import { SaeTable } from './sae-table.ts';
import type { RunEvent, RunHeader, RunSummary, Sink } from './sink.ts';

/**
 * The run on a terminal: a header in the first second, one live line, a summary at the end. Without a TTY (or with
 * TERM=dumb, CI) the live line becomes a plain line every ten seconds. A terminal that goes away is ignored.
 */
export class TerminalSink implements Sink {
  readonly name = 'terminal';
  readonly #line: LiveLine;
  readonly #quiet: boolean;
  readonly #now: () => number;
  readonly #progress = new Progress();
  readonly #saes = new SaeTable();
  #lastStage: string | null = null;
  /** Of a plain log: what it has said of stages. */
  readonly #said = new Set<string>();
  /** The header could not say the sizes or the device. */
  #leftOpen = false;

  /** Quiet leaves header, progress and summary out; warnings and errors stay. */
  constructor(options: LiveLineOptions = {}) {
    this.#line = new LiveLine(options);
    this.#quiet = options.quiet ?? false;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A line above the live one: the logger prints through this. */
  print(line: string): void {
    this.#line.warn(line);
  }

  /** Shows an event: a line, or the live line anew. */
  consume(event: RunEvent): void {
    this.#progress.consume(event, this.#now() / 1000);
    this.#saes.consume(event, this.#now() / 1000);
    if (this.#quiet) return;
    if (event.kind === 'header') for (const line of this.#header(event)) this.print(line);
    else if (event.kind === 'started' && this.#leftOpen) {
      for (const [name, { d_sae }] of Object.entries(event.saes ?? { '': event })) {
        const size = `${grouped(event.d_in)} → ${grouped(d_sae)} latents on ${event.device}`;
        this.print(this.#line.field('', name === '' ? size : `${name} · ${size}`));
      }
    } else if (event.kind === 'stage') this.#stage(event.message);
    else if (event.kind === 'metrics' && (event.sae === undefined || this.#saes.isLast(event.sae))) this.#draw();
    else if (event.kind === 'checkpoint' && !event.final) this.print(`saved ${plainText(event.path)}`);
    else if (event.kind === 'profile') for (const line of profileLines(event)) this.print(line);
    else if (event.kind === 'finished') {
      this.#line.end();
      for (const line of this.#summary(event)) this.print(line);
    }
  }

  async close(): Promise<void> {
    this.#line.end();
  }

  /** The live line; also the way to see a stage that takes its time (`done` of `total`). */
  #draw(fresh = false): void {
    const { stage } = this.#progress;
    if (stage === null && this.#saes.isEmpty) this.#line.draw(this.#progress.parts());
    else if (stage === null) this.#line.draw(this.#progress.parts('run'), false, this.#saes.lines());
    // A plain log has said the stage already, when it began.
    else if (this.#line.isLive) this.#line.draw([stage], fresh);
  }

  #stage(message: string): void {
    const fresh = message !== this.#lastStage;
    this.#lastStage = message;
    // A plain log wants each stage once, at its beginning; a live line shows its progress as well.
    if (this.#line.isLive) this.#draw(fresh);
    else if (!this.#said.has(message)) {
      this.#said.add(message);
      this.print(plainText(message));
    }
  }

  #header(run: RunHeader): string[] {
    this.#leftOpen = run.d_in === null || run.device === 'auto';
    const width = run.d_in === null ? '' : `${grouped(run.d_in)} → `;
    const size = (dSae: number | null) => (dSae === null ? '' : ` · ${width}${grouped(dSae)} latents`);
    const saes = Object.entries(run.saes ?? { '': run }).map(([name, { architecture, d_sae }]) =>
      this.#line.field('sae', `${name === '' ? '' : `${name} · `}${architecture}${size(d_sae)}`),
    );
    return [
      this.#line.field('run', run.run_name),
      ...saes,
      this.#line.field('model', `${run.model} · ${run.hook}`),
      this.#line.field(
        'data',
        `${run.dataset} · ${grouped(run.training_tokens)} tokens · ${grouped(run.total_steps)} steps`,
      ),
      this.#line.field('device', run.device),
      this.#line.field('files', run.folder),
    ];
  }

  #summary(run: RunSummary): string[] {
    const steps = `${counted(run.n_training_steps, 'step')} in ${duration(run.elapsed_s)}`;
    const measured = this.#progress.measuredStep + 1;
    const of =
      KEYS.loss in this.#progress.last && measured < run.n_training_steps
        ? ` (last row: step ${grouped(measured)})`
        : '';
    const lines = [this.#line.bold(`${run.stopped ? `Stopped after ${steps}` : `Done: ${steps}`}${of}`)];
    if (!this.#saes.isEmpty) lines.push(...this.#saes.summary().map(plainText));
    const width = Math.min(30, this.#line.columns - 40);
    for (const [label, key] of this.#saes.isEmpty ? SUMMARY : []) {
      const value = this.#progress.last[key];
      if (value === undefined) continue;
      const history = sparkline(this.#progress.history(key), width);
      lines.push(`  ${label.padEnd(20)} ${significant(value).padEnd(10)} ${history}`.trimEnd());
    }
    const dead = this.#progress.last[KEYS.dead];
    if (dead !== undefined && this.#progress.dSae > 0 && this.#saes.isEmpty) {
      lines.push(`  ${'dead latents'.padEnd(20)} ${dead} of ${grouped(this.#progress.dSae)}`);
    }
    if (run.output !== null) lines.push(this.#line.field(this.#saes.isEmpty ? 'SAE' : 'SAEs', run.output));
    else if (run.checkpoint !== null) lines.push(this.#line.field('checkpoint', run.checkpoint));
    if (run.next.length > 0) lines.push('Next:');
    for (const { command, purpose } of run.next)
      lines.push(`  ${asCalled(plainText(command))}`, `      ${plainText(purpose)}`);
    return lines;
  }
}

const SUMMARY: readonly [string, string][] = [
  ['loss', KEYS.loss],
  ['explained variance', KEYS.explainedVariance],
  ['L0', KEYS.l0],
  ['held-out EV', KEYS.heldOutExplainedVariance],
  ['CE loss score', KEYS.ceLossScore],
];
