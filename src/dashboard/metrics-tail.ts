import { type FileHandle, stat } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openPlainFile } from '../artifacts/plain-file.ts';
import { MetricRows } from './metric-rows.ts';

/** Read at once; its rows take some ten milliseconds, after which others have their turn. */
const CHUNK_BYTES = 1 << 20;
/** Files from this size on are shown by rows of theirs first, taken at even distances, while all are being read. */
const SAMPLE_FROM_BYTES = 16 << 20;
const SAMPLED_ROWS = 500;
/** Longer than any row. */
const LONGEST_LINE_BYTES = 64 << 10;
/** Of a run that nobody looks at: as a rule the last evaluation is in there. */
const END_BYTES = 128 << 10;
/** A stretch of a file that is read again to show all its rows; larger ones are shown by what is kept. */
const LARGEST_STRETCH_BYTES = 48 << 20;
/** Places in the file that are remembered. */
const MOST_MARKS = 4096;
const NEWLINE = 10;

/** metrics.jsonl of a run that may be going on in another process: what was read once is not read again. */
export class MetricsTail {
  readonly path: string;
  /** All rows up to `offset`. */
  rows = new MetricRows();
  /** Bytes that were read: always the end of a line. */
  offset = 0;
  /** Another number whenever the file is another one: cut, replaced, or begun again; and in another server. */
  generation = Date.now();
  /** Rows at even distances, until all have been read; and the place in the file that they reach to. */
  #sample: { rows: MetricRows; end: number } | null = null;
  #end = new MetricRows();
  #size = 0;
  #inode = 0n;
  #marks: { step: number; offset: number }[] = [];
  #rowsAMark = 1;
  #skipping = false;
  #advancing: Promise<boolean> | null = null;
  #asked: { place: string; answer: Promise<{ lines: string[]; offset: number }> } | null = null;

  constructor(path: string) {
    this.path = path;
  }

  /** What there is to show now. */
  get shown(): { rows: MetricRows; offset: number; isComplete: boolean } {
    const sample = this.#sample;
    if (sample === null) return { rows: this.rows, offset: this.offset, isComplete: true };
    return { rows: sample.rows, offset: sample.end, isComplete: false };
  }

  /** The share of the file that was read. */
  get progress(): number {
    return this.#size === 0 ? 1 : this.offset / this.#size;
  }

  /**
   * Looks at the file, and reads on for at most so long. Whoever asks meanwhile gets the same answer: rows are taken in
   * once.
   *
   * @returns whether there is something new to show
   */
  advance(budgetMs: number): Promise<boolean> {
    // What cannot be read just now, over a network for one, is looked at again.
    this.#advancing ??= this.#advance(budgetMs)
      .catch(() => false)
      .finally(() => {
        this.#advancing = null;
      });
    return this.#advancing;
  }

  async #advance(budgetMs: number): Promise<boolean> {
    const found = await stat(this.path, { bigint: true }).catch(() => null);
    const size = Number(found?.size ?? 0);
    const isOther = (found?.ino ?? this.#inode) !== this.#inode || size < this.offset;
    if (isOther) this.#begin(found?.ino ?? 0n);
    this.#size = size;
    if (size <= this.offset || found === null) return isOther;
    const file = await openPlainFile(this.path);
    if (file === null) return isOther;
    try {
      const before = this.offset;
      if (this.offset === 0 && this.#sample === null && size > SAMPLE_FROM_BYTES) {
        this.#sample = await sampled(file, size);
        return true;
      }
      const end = performance.now() + budgetMs;
      while (await this.#readChunk(file)) {
        if (performance.now() > end) break;
        await nextTurn();
      }
      // It may have grown since it was looked at.
      this.#size = Math.max(this.#size, this.offset);
      const wasSampled = this.#sample !== null;
      if (this.offset >= (this.#sample?.end ?? 0)) this.#sample = null;
      return isOther || (this.#sample === null && (wasSampled || this.offset > before));
    } finally {
      await file.close();
    }
  }

  /** All rows between two steps, read again where only some of them are kept; null where that would take too long. */
  async between(from: number, to: number): Promise<MetricRows | null> {
    const begin = this.#marks.findLast(({ step }) => step < from)?.offset ?? 0;
    const end = this.#marks.find(({ step }) => step > to)?.offset ?? this.offset;
    if (end - begin > LARGEST_STRETCH_BYTES) return null;
    const rows = new MetricRows();
    const file = await openPlainFile(this.path);
    if (file === null) return null;
    try {
      for (let at = begin; at < end; ) {
        const { text, bytes } = await wholeLines(file, at, Math.min(CHUNK_BYTES, end - at));
        if (bytes === 0) break;
        for (const line of linesOf(text)) rows.push(line);
        at += bytes;
        await nextTurn();
      }
    } finally {
      await file.close();
    }
    return rows;
  }

  /** Whole lines of JSON from a place on, as they stand, at most so many bytes; the place is the end of a line. */
  linesFrom(offset: number, most: number): Promise<{ lines: string[]; offset: number }> {
    const place = `${this.generation} ${offset} ${most}`;
    // All who follow a run ask the same.
    if (this.#asked?.place !== place) this.#asked = { place, answer: this.#linesFrom(offset, most) };
    return this.#asked.answer;
  }

  async #linesFrom(offset: number, most: number): Promise<{ lines: string[]; offset: number }> {
    const file = await openPlainFile(this.path);
    if (file === null) return { lines: [], offset };
    try {
      const { text, bytes } = await wholeLines(file, offset, most);
      return { lines: linesOf(text).filter(isJson), offset: offset + bytes };
    } finally {
      await file.close();
    }
  }

  /** The newest rows, from the end of the file where it was not read yet. */
  get newest(): MetricRows {
    return this.rows.rows > 0 || this.#sample !== null ? this.shown.rows : this.#end;
  }

  /** Reads the end of the file, for `newest`. */
  async peek(): Promise<void> {
    const file = await openPlainFile(this.path);
    if (file === null) return;
    try {
      const { size } = await file.stat();
      this.#end = new MetricRows();
      await readEnd(file, size, this.#end, END_BYTES);
    } finally {
      await file.close();
    }
  }

  /** Bytes there are to read. */
  get size(): number {
    return this.#size;
  }

  #begin(inode: bigint): void {
    this.rows = new MetricRows();
    this.offset = 0;
    this.generation++;
    this.#inode = inode;
    this.#sample = null;
    this.#marks = [];
    this.#rowsAMark = 1;
    this.#skipping = false;
  }

  /** Whether there may be more. */
  async #readChunk(file: FileHandle): Promise<boolean> {
    const { text, bytes, read } = await wholeLines(file, this.offset, CHUNK_BYTES);
    if (bytes === 0) {
      // A line without end is no row of ours; what follows it may be.
      if (read < CHUNK_BYTES) return false;
      this.offset += read;
      this.#skipping = true;
      return true;
    }
    let at = this.offset;
    for (const line of linesOf(text)) {
      if (this.#skipping) this.#skipping = false;
      else this.#take(line, at);
      at += Buffer.byteLength(line) + 1;
    }
    this.offset += bytes;
    return read === CHUNK_BYTES;
  }

  #take(line: string, offset: number): void {
    this.rows.push(line);
    if (this.rows.rows % this.#rowsAMark !== 0) return;
    this.#marks.push({ step: this.rows.step, offset });
    if (this.#marks.length < MOST_MARKS) return;
    this.#marks = this.#marks.filter((_, i) => i % 2 === 1);
    this.#rowsAMark *= 2;
  }
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** Lines that are there whole from a place on; `read` is how far was looked. */
async function wholeLines(
  file: FileHandle,
  offset: number,
  most: number,
): Promise<{ text: string; bytes: number; read: number }> {
  const buffer = Buffer.allocUnsafe(most);
  const { bytesRead } = await file.read(buffer, 0, most, offset);
  const bytes = buffer.lastIndexOf(NEWLINE, Math.max(0, bytesRead - 1)) + 1;
  const whole = bytesRead === 0 || bytes > bytesRead ? 0 : bytes;
  return { text: buffer.toString('utf8', 0, whole), bytes: whole, read: bytesRead };
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  lines.pop();
  return lines;
}

/** Rows at even distances: a file of any size is open in some tens of milliseconds. */
async function sampled(file: FileHandle, size: number): Promise<{ rows: MetricRows; end: number }> {
  const rows = new MetricRows();
  const lineAfter = async (offset: number): Promise<string | null> => {
    for (let length = 4096; length <= LONGEST_LINE_BYTES; length *= 4) {
      const buffer = Buffer.allocUnsafe(length);
      const { bytesRead } = await file.read(buffer, 0, length, offset);
      const text = buffer.subarray(0, bytesRead);
      const begin = offset === 0 ? 0 : text.indexOf(NEWLINE) + 1;
      const end = text.indexOf(NEWLINE, begin);
      if ((begin > 0 || offset === 0) && end > begin) return text.toString('utf8', begin, end);
    }
    return null;
  };
  const places = Array.from({ length: SAMPLED_ROWS }, (_, i) => Math.floor((i * size) / SAMPLED_ROWS));
  for (const line of await Promise.all(places.map(lineAfter))) if (line !== null) rows.push(line);
  return { rows, end: await readEnd(file, size, rows, LONGEST_LINE_BYTES) };
}

/** Takes in the last rows; gives back the end of the last whole one. */
async function readEnd(file: FileHandle, size: number, rows: MetricRows, most: number): Promise<number> {
  const begin = Math.max(0, size - most);
  const { text, bytes } = await wholeLines(file, begin, most);
  for (const line of linesOf(text).slice(begin === 0 ? 0 : 1)) rows.push(line);
  return begin + bytes;
}
