import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SaeLensError } from '../../../src/errors.ts';
import { loadPythonia, PythonSession } from '../../../src/worker/pythonia.ts';
import { pythonForTests } from '../../python-for-tests.ts';

const python = pythonForTests();
const sessions: PythonSession[] = [];
const start = async (): Promise<PythonSession> => {
  const session = await PythonSession.start({ python });
  sessions.push(session);
  return session;
};
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close(500);
});

const reason = (error: unknown): unknown => (error as SaeLensError).details.reason;

describe('PythonSession', () => {
  it('relies on members that the installed pythonia has', () => {
    const { Bridge, StdioCom } = loadPythonia();
    for (const name of ['makePyObject', 'end', 'call', 'get']) expect(Bridge.prototype).toHaveProperty(name);
    for (const name of ['start', 'recieve', 'register', 'write', 'writeRaw']) {
      expect(StdioCom.prototype).toHaveProperty(name);
    }
  });

  it('calls a function with positional and keyword arguments', async () => {
    const session = await start();
    expect(await session.call('json', 'dumps', [{ b: 1, a: 2 }], { sort_keys: true }, 5_000)).toBe('{"a": 2, "b": 1}');
  });

  it('turns NaN and infinity into null instead of ending Node', async () => {
    const session = await start();
    expect(await session.call('builtins', 'eval', ["[float('nan'), float('inf'), 1.5]"], {}, 5_000)).toEqual([
      null,
      null,
      1.5,
    ]);
  });

  it.each([
    ['an exception', '1/0', 'ZeroDivisionError'],
    ['SystemExit', '__import__("sys").exit(3)', 'SystemExit'],
    ['a value that is no JSON', 'b"bytes"', 'TypeError'],
  ])('reports %s and lives on', async (_, code, type) => {
    const session = await start();
    const error = await session.call('builtins', 'eval', [code], {}, 5_000).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SaeLensError);
    expect(reason(error)).toBe('raised');
    expect((error as Error).message).toContain(type);
    expect(await session.call('builtins', 'eval', ['1+1'], {}, 5_000)).toBe(2);
  });

  it('kills a Python that does not answer in time and says so', async () => {
    const session = await start();
    const error = await session.call('time', 'sleep', [60], {}, 300).catch((e: unknown) => e);
    expect(reason(error)).toBe('timeout');
    await session.close(1_000);
    expect(() => process.kill(session.pid as number, 0)).toThrow();
  });

  it('rejects pending and later calls when Python dies', async () => {
    const session = await start();
    const dying = session.call('os', '_exit', [42], {}, 5_000).catch((e: unknown) => e);
    expect((await dying) as Error).toMatchObject({ code: 'ENVIRONMENT_BROKEN' });
    expect(((await dying) as Error).message).toContain('exit code 42');
    expect(reason(await session.call('os', 'getpid', [], {}, 5_000).catch((e: unknown) => e))).toBe('died');
  });

  it('rejects pending calls when Python is killed', async () => {
    const session = await start();
    const pending = session.call('time', 'sleep', [60], {}, 30_000).catch((e: unknown) => e);
    process.kill(session.pid as number, 'SIGKILL');
    expect(((await pending) as Error).message).toContain('SIGKILL');
  });

  it('says that an interpreter is not there', async () => {
    await expect(PythonSession.start({ python: '/no/such/python' })).rejects.toMatchObject({
      code: 'PYTHON_NOT_FOUND',
    });
  });

  it('shows what a broken interpreter printed', async () => {
    const script = join(mkdtempSync(join(tmpdir(), 'pythonia-')), 'python');
    writeFileSync(script, '#!/bin/sh\necho "No module named encodings" >&2\nexit 1\n', { mode: 0o755 });
    const error = await PythonSession.start({ python: script }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'ENVIRONMENT_BROKEN' });
    expect((error as Error).message).toContain('No module named encodings');
  });

  it('keeps sessions apart', async () => {
    const [a, b] = [await start(), await start()];
    expect(await a.call('os', 'getpid', [], {}, 5_000)).toBe(a.pid);
    expect(await b.call('os', 'getpid', [], {}, 5_000)).toBe(b.pid);
    expect(a.pid).not.toBe(b.pid);
  });

  it('says what is wrong with a call, and asks nothing of a closed session', async () => {
    const rejections: unknown[] = [];
    const onRejection = (error: unknown): void => void rejections.push(error);
    process.on('unhandledRejection', onRejection);
    const session = await start();
    const usage = { code: 'USAGE' };
    await expect(session.call('builtins', 'len', [1n], {}, 5_000)).rejects.toMatchObject(usage);
    await expect(session.call('os', 'getpid', [], {}, undefined as never)).rejects.toMatchObject(usage);
    await expect(session.call('os', 'getpid', [], {}, Number.POSITIVE_INFINITY)).rejects.toMatchObject(usage);
    await expect(session.call('os', undefined as never, [], {}, 5_000)).rejects.toMatchObject(usage);
    await expect(session.import(undefined as never)).rejects.toMatchObject(usage);
    const math = await session.import('math');
    expect(await session.call('builtins', 'eval', ['1+1'], {}, 5_000)).toBe(2);
    await session.close();
    const closed = { code: 'USAGE', message: expect.stringContaining('the Python session is closed') };
    // pythonia's own timer is what would reject later, unheard: one second after the call's.
    await expect(session.call('os', 'getpid', [], {}, 1)).rejects.toMatchObject(closed);
    await expect(session.import('os')).rejects.toMatchObject(closed);
    await expect(math.sqrt(4)).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(rejections).toEqual([]);
    process.off('unhandledRejection', onRejection);
  });

  it('runs Python exit functions on close', async () => {
    const session = await start();
    const marker = join(mkdtempSync(join(tmpdir(), 'pythonia-')), 'closed');
    const code = `__import__("atexit").register(lambda: open(${JSON.stringify(marker)}, "w").write("yes")) and None`;
    await session.call('builtins', 'eval', [code], {}, 5_000);
    await session.close();
    expect(existsSync(marker) && readFileSync(marker, 'utf8')).toBe('yes');
  });

  it('gives live proxies of modules to notebooks', async () => {
    const session = await start();
    const math = await session.import('math');
    expect(await math.sqrt(16)).toBe(4);
  });
});
