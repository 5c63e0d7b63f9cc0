import { styleText } from 'node:util';
import { CommanderError } from 'commander';
import { type ErrorCode, SaeLensError } from '../errors.ts';
import { redact } from '../log.ts';
import { plainJson, plainText } from '../plain-text.ts';
import { asCalled, PROGRAM } from '../program-name.ts';

/** A document on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${redact(plainJson(value, 2))}\n`);
}

/** Text for people. Words of others in it, of a hub, a dataset or a model, cannot tell the terminal what to do. */
export function printText(text: string, out: NodeJS.WriteStream = process.stdout): void {
  out.write(redact(plainText(text)));
}

/** What a person should know and no program reads, on stderr. */
export function printNotice(line: string): void {
  printText(`note: ${line}\n`, process.stderr);
}

/** Whatever was thrown, as an error with a code. */
export function toSaeLensError(error: unknown): SaeLensError {
  if (error instanceof SaeLensError) return error;
  if (error instanceof CommanderError) {
    const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
    const hint = rest.join(' ').replace(/^\((.*)\)$/, '$1');
    return new SaeLensError('USAGE', first.charAt(0).toUpperCase() + first.slice(1), {
      hint,
    });
  }
  return toBug(error);
}

/** What nobody foresaw. An error with a code that nobody caught is one too, and keeps its words. */
export function toBug(error: unknown): SaeLensError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return new SaeLensError('BUG', message, {
    hint: 'this is a fault of sae-lens-ts: report it with the lines above',
    cause: error,
    details: { stack },
  });
}

/** Codes whose message and hint already hold all that `explain` could add. */
const SAYS_ALL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'BUG',
  'CONFIG_INVALID',
  'USAGE',
  'HUB',
  'TRAINING_FAILED',
  'INTERRUPTED',
  'TERMINATED',
]);

/** The one place where an error becomes words: code, message, hint. With `--json` an object on stdout. */
export function printError(error: SaeLensError, json: boolean): void {
  if (json) {
    const { code, message, hint = null, details, exitCode } = error;
    process.stdout.write(`${redact(plainJson({ error: { code, message, hint, exit_code: exitCode, details } }))}\n`);
    return;
  }
  const colour = (format: 'red' | 'bold', text: string) =>
    styleText(format, text, { stream: process.stderr, validateStream: true });
  const stack = error.code === 'BUG' && error.cause instanceof Error ? `\n${error.cause.stack}` : '';
  const hint = error.hint === undefined ? '' : `\n\n${colour('bold', 'hint:')} ${asCalled(plainText(error.hint))}`;
  const message = plainText(`${error.message}${stack}`);
  const code = colour('bold', error.code);
  const more = SAYS_ALL.has(error.code) ? '' : `\nmore: \`${PROGRAM} explain ${error.code}\``;
  process.stderr.write(redact(`${colour('red', 'error')} ${code}  ${message}${hint}${more}\n`));
}
