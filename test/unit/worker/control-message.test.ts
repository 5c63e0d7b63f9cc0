import { expect, it } from 'vitest';
import { SaeLensError } from '../../../src/errors.ts';
import { type Column, type ErrorMessage, type FromWorker, schemaHash } from '../../../src/protocol/messages.ts';
import { TrainResult, trainingEvent } from '../../../src/runners/training-events.ts';
import { readControlMessage } from '../../../src/worker/control-message.ts';
import { Streams } from '../../../src/worker/data-plane.ts';
import { handlerError } from '../../../src/worker/worker-errors.ts';
import { mutations } from '../../mutations.ts';

const ROUNDS = 2_000;
const SENT = { metrics_seq: 3, up_seq: 1 };
const COLUMNS: Column[] = [{ name: 'step', type: 'float64', shape: [] }];
const RESULT = { ended: 'done', n_training_steps: 2, n_training_samples: 4, l0: 1.5, num_dead_features: 0 };
const STARTED = { d_in: 4, d_sae: 8, saes: null, total_steps: 2, n_eval_prompts: 1, device: 'cpu', torch: '2' };
const BUILD = { versions: { numpy: '2' }, machine: { cpu: null, cpus: 2 }, revisions: {} };
const MESSAGES: FromWorker[] = [
  { type: 'hello', seq: 0, version: 1, schema_hash: schemaHash(), session: 's', pid: 1, python: '3.12' },
  { type: 'stream', seq: 1, stream: 0, id: 1, plane: 'metrics', name: 'x', columns: COLUMNS, schema: 'AAAA' },
  { type: 'event', seq: 2, id: 1, kind: 'stage', data: { stage: 'train', message: 'x', done: 1, total: 2 } },
  {
    type: 'event',
    seq: 3,
    id: 1,
    kind: 'started',
    data: { ...STARTED, cpu: 'AVX2', threads: 1, kernels: 'dense', ...BUILD },
  },
  { type: 'event', seq: 4, id: 1, kind: 'log', data: { level: 'warning', message: 'x' } },
  { type: 'response', seq: 5, id: 1, result: RESULT, arrays: 0, ...SENT },
  {
    ...{ type: 'error', seq: 6, id: 1, code: 'STORAGE', message: 'x', hint: null, details: {}, traceback: null },
    ...SENT,
  },
  { type: 'bye', seq: 7, ...SENT },
];

/** What becomes of a control message on its way to a run. */
function take(bytes: Buffer): void {
  const message = readControlMessage(bytes);
  if (message.type === 'event') trainingEvent(message);
  if (message.type === 'error') expect(handlerError(message).exitCode).toBeTypeOf('number');
  if (message.type === 'stream') new Streams().announce(message);
  if (message.type === 'response') TrainResult.safeParse(message.result);
}

it('control messages of the worker, damaged in 2 000 ways, are taken or refused with PROTOCOL (X4)', () => {
  for (const message of MESSAGES) take(Buffer.from(JSON.stringify(message)));
  let refused = 0;
  for (const [seed, message] of MESSAGES.entries()) {
    for (const damaged of mutations(Buffer.from(JSON.stringify(message)), ROUNDS / MESSAGES.length, seed)) {
      try {
        take(damaged);
      } catch (error) {
        if (!(error instanceof SaeLensError)) throw new Error(damaged.toString(), { cause: error });
        expect(error.code).toBe('PROTOCOL');
        refused++;
      }
    }
  }
  expect(refused).toBeGreaterThan(ROUNDS / 2);
});

it.each(['constructor', '__proto__', 'toString'])('%j is neither a kind of event nor a code of an error', (word) => {
  expect(() => trainingEvent({ kind: word, data: {} })).toThrow(SaeLensError);
  const message: ErrorMessage = { ...(MESSAGES[6] as ErrorMessage), code: word };
  expect(handlerError(message).code).toBe('BUG');
});

it('a message that nests a million deep is refused', () => {
  const bytes = Buffer.from(`{"type":"event","seq":0,"id":1,"kind":"x","data":{"a":${'['.repeat(1_000_000)}`);
  expect(() => readControlMessage(bytes)).toThrow(SaeLensError);
});
