import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { MAX_MESSAGE_BYTES } from '../../src/protocol/frames.ts';
import * as limits from '../../src/protocol/limits.ts';
import { ColumnType, describe as describeMessages, schemaHash } from '../../src/protocol/messages.ts';
import { pythonForTests } from '../python-for-tests.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('both twins of the protocol have the same messages with the same fields in the same order', () => {
  const script =
    'import json, typing; from pyworker.protocol import messages as m; ' +
    'print(json.dumps([m.describe(), m.schema_hash(), typing.get_args(m.ColumnType)]))';
  const output = execFileSync(pythonForTests(), ['-c', script], { cwd: root, encoding: 'utf8' });
  const [messages, hash, types] = JSON.parse(output);
  expect(messages).toEqual(describeMessages());
  expect(hash).toBe(schemaHash());
  expect(types).toEqual(ColumnType.options);
});

it('both twins take the same on their sockets', () => {
  const script =
    'import json; from pyworker.protocol import frames, limits; ' +
    'named = {name: value for name, value in vars(limits).items() if name.isupper()}; ' +
    'print(json.dumps({"MAX_MESSAGE_BYTES": frames.MAX_MESSAGE_BYTES, **named}))';
  const output = execFileSync(pythonForTests(), ['-c', script], { cwd: root, encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual({ MAX_MESSAGE_BYTES, ...limits });
});

it('the messages of the border are these; a new one is a deliberate edit here', () => {
  expect(describeMessages().map(([name]) => name)).toEqual([
    'Column',
    'Boot',
    'FrameHeader',
    'Hello',
    'Welcome',
    'Reject',
    'Request',
    'Cancel',
    'Credit',
    'Stream',
    'Response',
    'Error',
    'Event',
    'Bye',
  ]);
});
