import { open } from 'node:fs/promises';
import { SaeLensError } from '../errors.ts';

const BYTES_PER_ELEMENT = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

export type SafetensorsDtype = keyof typeof BYTES_PER_ELEMENT;

export interface TensorInfo {
  dtype: SafetensorsDtype;
  shape: number[];
  /** First byte and one past the last, counted from the end of the header. */
  offsets: [begin: number, end: number];
}

/** An SAE has a dozen tensors; a header above this is damage or an attack, not a file of ours. */
const LARGEST_HEADER_BYTES = 4 << 20;

/**
 * Reads and checks the header of a safetensors file, the data stays on the disk: sizes, dtypes, offsets in bounds,
 * without gaps or overlaps, and that the file is exactly as long as they say.
 */
export async function readSafetensorsHeader(path: string): Promise<Map<string, TensorInfo>> {
  const refuse = (reason: string, cause?: unknown): SaeLensError =>
    new SaeLensError('SAE_INVALID', `Cannot read tensors of "${path}": ${reason}`, {
      hint: 'fetch or write it again',
      cause,
    });
  const file = await open(path, 'r').catch((error: Error) => {
    throw refuse(error.message, error);
  });
  try {
    const { size } = await file.stat();
    const prefix = Buffer.alloc(8);
    if ((await file.read(prefix, 0, 8, 0)).bytesRead < 8) throw refuse(`it has only ${size} bytes`);
    const length = prefix.readBigUInt64LE();
    if (length > BigInt(Math.min(size - 8, LARGEST_HEADER_BYTES))) {
      throw refuse(`its header claims ${length} bytes; the file has ${size}, and ${LARGEST_HEADER_BYTES} is the most`);
    }
    const header = Buffer.alloc(Number(length));
    if ((await file.read(header, 0, header.length, 8)).bytesRead < header.length) throw refuse('its header is cut off');
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
    } catch (error) {
      throw refuse('its header is not JSON', error);
    }
    return checkHeader(value, size - 8 - header.length, refuse);
  } finally {
    await file.close();
  }
}

function checkHeader(value: unknown, dataBytes: number, refuse: (reason: string) => SaeLensError) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('its header is not an object');
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(value)) {
    if (name !== '__metadata__') tensors.set(name, checkTensor(name, entry, refuse));
  }
  let position = 0;
  for (const [name, { offsets }] of [...tensors].sort(([, a], [, b]) => a.offsets[0] - b.offsets[0])) {
    if (offsets[0] !== position) throw refuse(`tensor ${name} begins at ${offsets[0]} instead of ${position}`);
    position = offsets[1];
  }
  if (position !== dataBytes) throw refuse(`its tensors take ${position} bytes and the file holds ${dataBytes}`);
  return tensors;
}

function checkTensor(name: string, entry: unknown, refuse: (reason: string) => SaeLensError): TensorInfo {
  const { dtype, shape, data_offsets } = (entry ?? {}) as Record<string, unknown>;
  const whole = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (typeof dtype !== 'string' || !Object.hasOwn(BYTES_PER_ELEMENT, dtype)) {
    throw refuse(`tensor ${name} has dtype ${JSON.stringify(dtype)}; known are ${Object.keys(BYTES_PER_ELEMENT)}`);
  }
  if (!Array.isArray(shape) || !shape.every(whole)) throw refuse(`tensor ${name} has shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(data_offsets) || data_offsets.length !== 2 || !data_offsets.every(whole)) {
    throw refuse(`tensor ${name} has offsets ${JSON.stringify(data_offsets)}`);
  }
  const [begin, end] = data_offsets as [number, number];
  const bytes = shape.reduce((product, n) => product * n, BYTES_PER_ELEMENT[dtype as SafetensorsDtype]);
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes) {
    throw refuse(`tensor ${name} takes ${end - begin} bytes and its shape ${JSON.stringify(shape)} needs ${bytes}`);
  }
  return { dtype: dtype as SafetensorsDtype, shape, offsets: [begin, end] };
}
