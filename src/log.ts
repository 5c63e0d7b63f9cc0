import { lstatSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { type DestinationStream, destination, type Logger as Pino, pino } from 'pino';
import { plainText } from './plain-text.ts';

/** How much a line matters; a logger prints its own level and above. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
const RANK: Record<LogLevel, number> = { debug: 20, info: 30, warn: 40, error: 50 };

/** Variables whose value must never be written anywhere (faults X7). */
const SECRET_VARIABLES = /(TOKEN|API_?KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?$/i;
/** Shorter values ("1", "true") are switches, and scrubbing them would eat ordinary text. */
const SHORTEST_SECRET = 8;
/** What secrets look like when they come from elsewhere: a hub token, a W&B key after its name, user:password@ in an URL. */
const SECRET_SHAPES: readonly [RegExp, string][] = [
  [/\bhf_[A-Za-z0-9]{16,}\b/g, '[secret]'],
  [/\b(wandb[-_]?(?:v1[-_])?(?:api[-_]?)?key["'\s:=]+)[A-Za-z0-9_-]{32,}/gi, '$1[secret]'],
  // Taken for a path an address loses one of its slashes.
  [/(\b[a-z][a-z0-9+.-]*:\/{1,2})[^\s/@:]+:[^\s/@]+@/gi, '$1[secret]@'],
];

function secrets(): string[] {
  const found = new Set<string>();
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && value.length >= SHORTEST_SECRET && SECRET_VARIABLES.test(name)) found.add(value);
  }
  // Longest first: a secret that contains another must not leave its tail behind.
  return [...found].sort((a, b) => b.length - a.length);
}

/** Removes every known secret and everything shaped like one. Also works on JSON text. */
export function redact(text: string): string {
  let clean = text;
  for (const secret of secrets()) {
    clean = clean.replaceAll(secret, '[secret]');
    const inJson = JSON.stringify(secret).slice(1, -1);
    if (inJson !== secret) clean = clean.replaceAll(inJson, '[secret]');
  }
  for (const [shape, replacement] of SECRET_SHAPES) clean = clean.replace(shape, replacement);
  return clean;
}

/** Days of a run that says what it does, a minute of one whose worker prints without end. */
const LOG_FILE_BYTES = 16 << 20;

/** A value of JSON whose texts hold no secret: what is written down of a configuration. */
export const withoutSecrets = <T>(value: T): T => JSON.parse(redact(JSON.stringify(value))) as T;

export interface LoggerOptions {
  /** JSON lines go here (the run folder's log.jsonl). */
  file?: string | undefined;
  /** So large that file may become before it is set aside; the one set aside before is then gone. Default 16 MiB. */
  fileBytes?: number | undefined;
  /** Least level for people; the file takes `debug` and up. Default `info`. */
  level?: LogLevel | 'silent' | undefined;
  /** Where lines for people go; default stderr. The terminal sink passes its own, so that its live line survives. */
  print?: ((line: string) => void) | undefined;
}

/** One sentence for people, fields for machines; both redacted. */
export interface Logger {
  /** What only matters when something is looked into. */
  debug(message: string, fields?: Record<string, unknown>): void;
  /** What goes on. */
  info(message: string, fields?: Record<string, unknown>): void;
  /** What is not as wanted, and the work goes on. */
  warn(message: string, fields?: Record<string, unknown>): void;
  /** What ended the work. */
  error(message: string, fields?: Record<string, unknown>): void;
  /** Where lines for people go from now on. */
  printTo(print: (line: string) => void): void;
  /** Writes the file to its end. */
  close(): void;
}

/** A logger for people and, with `file`, for machines. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const least = options.level === 'silent' ? Number.POSITIVE_INFINITY : RANK[options.level ?? 'info'];
  const file = options.file === undefined ? undefined : openLogFile(options.file, options.fileBytes ?? LOG_FILE_BYTES);
  let print = options.print ?? printToStderr;

  const write = (level: LogLevel, message: string, fields: Record<string, unknown> = {}): void => {
    const text = plainText(message);
    file?.log[level](fields, text);
    if (RANK[level] < least) return;
    const label = level === 'info' ? '' : `${level === 'warn' ? 'warning' : level}: `;
    print(redact(label + text));
  };
  return {
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    printTo: (to) => {
      print = to;
    },
    close: () => file?.close(),
  };
}

/** The log before the present one: `log.jsonl` goes on as `log.older.jsonl`, and the one before is gone. */
const olderLog = (path: string): string => path.replace(/(\.jsonl)?$/, '.older$1');

/**
 * A log that cannot be written (disk full, read-only) is given up: it may not end a run. Two files of so many bytes are
 * the most it takes, however long the run is and whatever its worker prints.
 */
function openLogFile(path: string, maxBytes: number): { log: Pino; close(): void } {
  // Where a link lies something of somebody's else may be at its end; nothing is written through it.
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) unlinkSync(path);
  const out = destination({ dest: path, mkdir: true, sync: true, append: true });
  out.on('error', () => {});
  let bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const redacting: DestinationStream = {
    write: (line) => {
      try {
        const text = redact(line);
        if (bytes > 0 && bytes + Buffer.byteLength(text) > maxBytes) {
          renameSync(path, olderLog(path));
          out.reopen(path);
          bytes = 0;
        }
        out.write(text);
        bytes += Buffer.byteLength(text);
      } catch {
        // As above: the line is lost, the run goes on.
      }
    },
  };
  const log = pino({ level: 'debug', base: null, timestamp: pino.stdTimeFunctions.isoTime }, redacting);
  return { log, close: () => out.end() };
}

function printToStderr(line: string): void {
  // A closed terminal must not end a run: without a listener EPIPE would be thrown (faults L9).
  if (process.stderr.listenerCount('error') === 0) process.stderr.on('error', () => {});
  process.stderr.write(`${line}\n`);
}
