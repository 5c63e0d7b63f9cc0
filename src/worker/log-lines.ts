import { StringDecoder } from 'node:string_decoder';
import { stripVTControlCharacters } from 'node:util';

const MAX_LINE_CHARACTERS = 4096;
const KEPT_LINES = 200;

type Name = 'stdout' | 'stderr';

/** Output of a worker as lines: bounded in length and number whatever is printed, without terminal codes. */
export class LogLines {
  readonly #onLine: (stream: Name, line: string) => void;
  readonly #tail: string[] = [];
  readonly #open: Record<Name, { decoder: StringDecoder; text: string; cut: number }> = {
    stdout: { decoder: new StringDecoder('utf8'), text: '', cut: 0 },
    stderr: { decoder: new StringDecoder('utf8'), text: '', cut: 0 },
  };

  constructor(onLine: (stream: Name, line: string) => void) {
    this.#onLine = onLine;
  }

  push(stream: Name, chunk: Buffer): void {
    // A progress bar ends its lines with \r alone.
    const pieces = this.#open[stream].decoder.write(chunk).split(/\r\n|\n|\r/);
    pieces.forEach((piece, i) => {
      this.#append(stream, piece);
      if (i < pieces.length - 1) this.#emit(stream);
    });
  }

  /** Ends lines that never got a newline. */
  flush(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#append(stream, this.#open[stream].decoder.end());
      this.#emit(stream);
    }
  }

  /** The last lines, oldest first. */
  tail(lines = 20): string {
    return this.#tail.slice(-lines).join('\n');
  }

  #append(stream: Name, piece: string): void {
    const open = this.#open[stream];
    const room = MAX_LINE_CHARACTERS - open.text.length;
    open.text += piece.slice(0, room);
    open.cut += Math.max(0, piece.length - room);
  }

  #emit(stream: Name): void {
    const open = this.#open[stream];
    const { text, cut } = open;
    open.text = '';
    open.cut = 0;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must go
    const clean = stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '');
    if (clean === '' && cut === 0) return;
    const line = cut > 0 ? `${clean} … [${cut} more characters]` : clean;
    this.#tail.push(line);
    if (this.#tail.length > KEPT_LINES) this.#tail.shift();
    this.#onLine(stream, line);
  }
}
