import { crc32 } from 'node:zlib';
import {
  type DataType,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int32,
  Int64,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Uint8,
  Uint16,
} from 'apache-arrow';
import { type Column, type ColumnType, FrameHeader } from './messages.ts';

/** A data message longer than this is refused by both ends. */
export const MAX_MESSAGE_BYTES = 2 ** 30;
const PARTS = 5;
/** A stream announces its schema once; a batch header is small whatever the batch. */
const MAX_BATCH_HEADER_BYTES = 64 * 1024;

/** The numbers of one column, all rows one after the other. float16 and bfloat16 are raw bits: see `toFloat32`. */
export type ColumnArray = Float64Array | Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

/** A data message that must not be read: wrong parts, length, schema, checksum or content. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

type ColumnArrayClass = {
  new (length: number): ColumnArray;
  new (buffer: ArrayBufferLike, begin: number, length: number): ColumnArray;
};

// bfloat16 has no Arrow type: its bits travel as uint16, and the field's metadata says so.
const KINDS: Record<ColumnType, { arrow: () => DataType; array: ColumnArrayClass; bytes: number }> = {
  float64: { arrow: () => new Float64(), array: Float64Array, bytes: 8 },
  float32: { arrow: () => new Float32(), array: Float32Array, bytes: 4 },
  float16: { arrow: () => new Float16(), array: Uint16Array, bytes: 2 },
  bfloat16: { arrow: () => new Uint16(), array: Uint16Array, bytes: 2 },
  int64: { arrow: () => new Int64(), array: BigInt64Array, bytes: 8 },
  int32: { arrow: () => new Int32(), array: Int32Array, bytes: 4 },
  uint8: { arrow: () => new Uint8(), array: Uint8Array, bytes: 1 },
};

const width = (column: Column): number => column.shape.reduce((a, b) => a * b, 1);
const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;
const bytesOf = (column: Column, rows: number): number => rows * width(column) * KINDS[column.type].bytes;
const bodyBytes = (columns: readonly Column[], rows: number): number =>
  columns.reduce((sum, column) => sum + padded(bytesOf(column, rows)), 0);

/** Arrow's bytes for a shape of batch: the same whatever the numbers are, so they are made once. */
interface Envelope {
  schema: Buffer;
  batch: Buffer;
}
const envelopes = new Map<string, Envelope>();
const MAX_ENVELOPES = 256;

function envelope(columns: readonly Column[], rows: number): Envelope {
  const key = JSON.stringify([columns, rows]);
  const known = envelopes.get(key);
  if (known) return known;
  const fields = columns.map((c) => {
    const item = KINDS[c.type].arrow();
    const type = c.shape.length === 0 ? item : new FixedSizeList(width(c), new Field('item', item, false));
    return new Field(c.name, type, false, c.type === 'bfloat16' ? new Map([['dtype', 'bfloat16']]) : null);
  });
  const children = columns.map((c, i) => {
    const values = makeData({ type: KINDS[c.type].arrow(), data: new KINDS[c.type].array(rows * width(c)) } as never);
    const type = (fields[i] as Field).type;
    return c.shape.length === 0 ? values : makeData({ type: type as FixedSizeList, length: rows, child: values });
  });
  const schema = new Schema(fields);
  const data = makeData({ type: new Struct(fields), length: rows, nullCount: 0, children });
  const bytes = Buffer.from(tableToIPC(new Table(schema, [new RecordBatch(schema, data)]), 'stream'));
  const end = 8 + bytes.readInt32LE(4);
  const made = { schema: bytes.subarray(0, end), batch: bytes.subarray(end, end + 8 + bytes.readInt32LE(end + 4)) };
  if (envelopes.size >= MAX_ENVELOPES) envelopes.clear();
  envelopes.set(key, made);
  return made;
}

/** The Arrow schema bytes that every frame of these columns carries. */
export const schemaBytes = (columns: readonly Column[]): Buffer => envelope(columns, 0).schema;

/** The five parts of one message. `arrays` hold one column each and must not change until the message is sent. */
export function encodeFrame(header: FrameHeader, columns: readonly Column[], arrays: readonly ColumnArray[]): Buffer[] {
  const parts = columns.map((column, i) => {
    const array = arrays[i] as ColumnArray;
    const bytes = bytesOf(column, header.rows);
    if (array.byteLength !== bytes) {
      throw new RangeError(`Column "${column.name}" has ${array.byteLength} bytes, ${header.rows} rows need ${bytes}`);
    }
    return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  });
  // One unpadded column is sent from where it lies.
  const whole = parts.length === 1 && parts[0]?.byteLength === bodyBytes(columns, header.rows);
  const body = whole
    ? (parts[0] as Buffer)
    : Buffer.concat(parts.flatMap((part) => [part, Buffer.alloc(padded(part.byteLength) - part.byteLength)]));
  const { schema, batch } = envelope(columns, header.rows);
  const frames = [Buffer.from(JSON.stringify(header)), schema, batch, body];
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(checksumOf(frames));
  return [...frames, checksum];
}

/**
 * The header of a message whose number of parts and checksum are right.
 * @throws FrameError when they are not
 */
export function readHeader(parts: readonly Buffer[]): FrameHeader {
  if (parts.length !== PARTS) throw new FrameError(`A data message has ${PARTS} parts, this one ${parts.length}`);
  const checksum = parts[4] as Buffer;
  if (checksum.byteLength !== 4 || checksum.readUInt32LE() !== checksumOf(parts.slice(0, 4))) {
    throw new FrameError('The checksum of the frame is wrong');
  }
  try {
    return FrameHeader.parse(JSON.parse((parts[0] as Buffer).toString()));
  } catch (cause) {
    throw new FrameError(`The header of the frame is wrong: ${(cause as Error).message}`);
  }
}

/**
 * Views of the columns in the order of `columns`, without a copy where they are aligned. Where they lie follows from the
 * announced columns and the number of rows, so nothing that a peer wrote is read by Arrow itself: one byte of a
 * record-batch header can exhaust Node's heap there, which nobody can catch.
 * @throws FrameError when the message is not exactly what was announced
 */
export function decodeFrame(
  parts: readonly Buffer[],
  header: FrameHeader,
  columns: readonly Column[],
  announced: Buffer,
): ColumnArray[] {
  const [, schema, batch, body] = parts as [Buffer, Buffer, Buffer, Buffer];
  if (!schema.equals(announced)) throw new FrameError('The schema of the frame is not the announced one');
  const expected = bodyBytes(columns, header.rows);
  if (body.byteLength !== expected) {
    throw new FrameError(`The body has ${body.byteLength} bytes, ${header.rows} rows need ${expected}`);
  }
  if (batch.byteLength > MAX_BATCH_HEADER_BYTES) throw new FrameError('The record-batch header is too long');
  if (header.rows > 0 && columns.length === 0) throw new FrameError(`${header.rows} rows without a column`);
  let begin = 0;
  return columns.map((column) => {
    const bytes = bytesOf(column, header.rows);
    const part = body.subarray(begin, begin + bytes);
    begin += padded(bytes);
    return numbersIn(part, column);
  });
}

/** The numbers that these bytes are; a copy where the system put them between two of their places. */
function numbersIn(part: Buffer, { type }: Column): ColumnArray {
  const { array, bytes } = KINDS[type];
  const isAligned = part.byteOffset % bytes === 0;
  const buffer = isAligned ? part.buffer : part.buffer.slice(part.byteOffset, part.byteOffset + part.byteLength);
  return new array(buffer, isAligned ? part.byteOffset : 0, part.byteLength / bytes);
}

/** Widens the raw bits of a float16 or bfloat16 column; other float columns are returned as float32. */
export function toFloat32(type: ColumnType, values: ColumnArray): Float32Array {
  if (values instanceof Float32Array) return values;
  if (type === 'bfloat16') {
    const bits = new Uint32Array(values.length);
    for (let i = 0; i < bits.length; i++) bits[i] = (values[i] as number) << 16;
    return new Float32Array(bits.buffer);
  }
  if (type === 'float16') return Float32Array.from(values as Uint16Array, halfToFloat);
  return Float32Array.from(values as Float64Array, Number);
}

/** IEEE 754 half precision: 1 sign, 5 exponent and 10 fraction bits. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function checksumOf(parts: readonly Buffer[]): number {
  let crc = 0;
  // zlib starts again at 0 for an empty buffer.
  for (const part of parts) if (part.byteLength > 0) crc = crc32(part, crc);
  return crc;
}
