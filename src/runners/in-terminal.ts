import { createLogger, type Logger } from '../log.ts';
import { JsonSink } from '../sinks/json.ts';
import { LiveLine } from '../sinks/live-line.ts';
import { StopOnSignal, type StopWords } from './stop-on-signal.ts';

/** A reader of `--json` that has stopped reading is waited for no longer than this. */
const JSON_CLOSE_MS = 5_000;

/** How a command was called. */
export interface InTerminalOptions {
  /** Events as lines on stdout. */
  json: boolean;
  /** Warnings and errors only. */
  quiet: boolean;
}

/** What work has in front of it. */
export interface Terminal {
  readonly line: LiveLine;
  /** Prints above the line. */
  readonly log: Logger;
  /** null unless `--json` was given. */
  readonly sink: JsonSink | null;
  readonly signals: StopOnSignal;
}

/**
 * Does work with a terminal in front: a live line, events on stdout when they are wanted, Ctrl-C once for an orderly end
 * and twice for an end at once.
 *
 * @throws SaeLensError what the work failed with; INTERRUPTED or TERMINATED when it was ended at once
 */
export async function inTerminal(
  words: StopWords,
  { json, quiet }: InTerminalOptions,
  work: (terminal: Terminal) => Promise<void>,
): Promise<void> {
  const line = new LiveLine({ quiet });
  const log = createLogger({ level: quiet ? 'warn' : 'info', print: (text) => line.warn(text) });
  const sink = json ? new JsonSink() : null;
  const signals = new StopOnSignal(words, (text) => log.warn(text));
  try {
    await work({ line, log, sink, signals });
  } catch (error) {
    throw signals.explain(error);
  } finally {
    line.end();
    signals.close();
    await sink?.close(JSON_CLOSE_MS);
  }
}
