import { createHash } from 'node:crypto';
import { z } from 'zod';

/**
 * The language of the border: every control message, the boot line and the header of a data frame.
 *
 * Twin of pyworker/protocol/messages.py: same names, same fields, same order (test/contract/protocol.test.ts holds
 * them equal). Nothing is optional: every key is always sent, absence is `null`, an unknown key is an error.
 */
export const PROTOCOL_VERSION = 1;

const count = z.int().nonnegative();
const json = z.record(z.string(), z.unknown());

export const ColumnType = z.enum(['float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'uint8']);

/** One fixed-width column. `shape` is that of one row: `[]` a number, `[768]` a vector. */
export const Column = z.strictObject({ name: z.string(), type: ColumnType, shape: z.array(count) });

/** The first line on the worker's stdin: where to connect, and the keys. Never in argv, environment or a file. */
export const Boot = z.strictObject({
  version: count,
  session: z.string(),
  parent_pid: count,
  control: z.string(),
  metrics: z.string(),
  up: z.string(),
  down: z.string(),
  server_key: z.string(),
  public_key: z.string(),
  secret_key: z.string(),
  secure_bulk: z.boolean(),
});

/**
 * First part of a data message; parts 2 to 5 are Arrow schema, record-batch header, body, and CRC-32 of all before.
 * `seq` counts the messages of its plane from 0; `dropped` the rows this stream lost to a full queue or to missing
 * credits since its last frame; `step` the training step of an activation frame.
 */
export const FrameHeader = z.strictObject({
  stream: count,
  seq: count,
  rows: count,
  dropped: count,
  step: count.nullable(),
});

/** Worker's first message. */
export const Hello = z.strictObject({
  type: z.literal('hello'),
  seq: count,
  version: count,
  schema_hash: z.string(),
  session: z.string(),
  pid: count,
  python: z.string(),
});
/** The handshake is done. */
export const Welcome = z.strictObject({ type: z.literal('welcome'), seq: count });
/** The handshake is refused; the worker leaves. */
export const Reject = z.strictObject({ type: z.literal('reject'), seq: count, message: z.string() });
/** Run `op`; `arrays` frames with the streams announced for `id` belong to it. */
export const Request = z.strictObject({
  type: z.literal('request'),
  seq: count,
  id: count,
  op: z.string(),
  params: json,
  arrays: count,
});
/** The answer to `id` is no longer wanted. */
export const Cancel = z.strictObject({ type: z.literal('cancel'), seq: count, id: count });
/** `count` more activation frames of `id` have a place to go. */
export const Credit = z.strictObject({ type: z.literal('credit'), seq: count, id: count, count });
/** Announces a stream before its first frame. `schema` is base64 of the exact Arrow schema bytes of each frame. */
export const Stream = z.strictObject({
  type: z.literal('stream'),
  seq: count,
  stream: count,
  id: count,
  plane: z.enum(['metrics', 'tap', 'array', 'feed']),
  name: z.string(),
  columns: z.array(Column),
  schema: z.base64(),
});
/** The result of `id`. The `_seq` fields say how many data messages were sent before it. */
export const Response = z.strictObject({
  type: z.literal('response'),
  seq: count,
  id: count,
  result: z.unknown(),
  arrays: count,
  metrics_seq: count,
  up_seq: count,
});
/** `id` failed; `id` null means the worker cannot say which request a broken message belonged to. */
export const ErrorMessage = z.strictObject({
  type: z.literal('error'),
  seq: count,
  id: count.nullable(),
  code: z.string(),
  message: z.string(),
  hint: z.string().nullable(),
  details: json,
  traceback: z.string().nullable(),
  metrics_seq: count,
  up_seq: count,
});
/** Something that happened while `id` runs: stage, log, started, checkpoint, ... */
export const Event = z.strictObject({
  type: z.literal('event'),
  seq: count,
  id: count,
  kind: z.string(),
  data: json,
});
/** The worker's last message, with the number of data messages it sent in its life. */
export const Bye = z.strictObject({ type: z.literal('bye'), seq: count, metrics_seq: count, up_seq: count });

export const ToWorker = z.discriminatedUnion('type', [Welcome, Reject, Request, Cancel, Credit, Stream]);
export const FromWorker = z.discriminatedUnion('type', [Hello, Stream, Response, ErrorMessage, Event, Bye]);

/** The data of a `stage` event: what is being done, and how far it is where that is known. */
export const StageData = z.strictObject({
  stage: z.string(),
  message: z.string(),
  done: count.nullable(),
  total: count.nullable(),
});
/** The data of a `log` event. */
export const LogData = z.strictObject({ level: z.enum(['debug', 'info', 'warning', 'error']), message: z.string() });

export type ColumnType = z.infer<typeof ColumnType>;
export type Column = z.infer<typeof Column>;
export type Boot = z.infer<typeof Boot>;
export type FrameHeader = z.infer<typeof FrameHeader>;
export type Hello = z.infer<typeof Hello>;
export type Stream = z.infer<typeof Stream>;
export type Response = z.infer<typeof Response>;
export type ErrorMessage = z.infer<typeof ErrorMessage>;
export type Event = z.infer<typeof Event>;
export type Bye = z.infer<typeof Bye>;
export type ToWorker = z.infer<typeof ToWorker>;
export type FromWorker = z.infer<typeof FromWorker>;
export type StageData = z.infer<typeof StageData>;
export type LogData = z.infer<typeof LogData>;

/** A message to the worker before the channel gives it its number. */
export type Outgoing = ToWorker extends infer M ? (M extends { seq: number } ? Omit<M, 'seq'> : never) : never;

const ALL = {
  Column,
  Boot,
  FrameHeader,
  Hello,
  Welcome,
  Reject,
  Request,
  Cancel,
  Credit,
  Stream,
  Response,
  Error: ErrorMessage,
  Event,
  Bye,
};

/** Names and fields of everything that crosses, in order: what `schemaHash` is made of. */
export function describe(): [string, string[]][] {
  return Object.entries(ALL).map(([name, schema]) => [
    name,
    Object.keys(schema.shape).filter((field) => field !== 'type' || name === 'Column'),
  ]);
}

/** Short hash of `describe()`; both sides compute it and the handshake compares them. */
export function schemaHash(): string {
  const text = JSON.stringify([PROTOCOL_VERSION, describe()]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
