import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, it, vi } from 'vitest';
import type { Observer } from 'zeromq';
import { Channel } from '../../../src/worker/channel.ts';

/** The observers of all sockets; while `deaf`, what libzmq says to them is lost on its way. */
const seen = vi.hoisted(() => ({ observers: [] as Observer[], deaf: false }));
vi.mock('zeromq', async (load) => {
  const zeromq = await load<typeof import('zeromq')>();
  class Router extends zeromq.Router {}
  Object.defineProperty(Router.prototype, 'events', {
    get(this: object): Observer {
      const observer: Observer = Reflect.get(zeromq.Router.prototype, 'events', this);
      seen.observers.push(observer);
      if (!seen.deaf) return observer;
      const lost = { receive: () => new Promise(() => {}), close: () => observer.close() };
      return Object.defineProperty(lost, 'closed', { get: () => observer.closed }) as unknown as Observer;
    },
  });
  return { ...zeromq, Router };
});

const OPTIONS = {
  transport: 'ipc',
  secureBulk: true,
  heartbeat: { intervalMs: 2_000, timeoutMs: 20_000 },
  sendTimeoutMs: 1_000,
} as const;

it.each([false, true])(
  'closed, it leaves neither a folder nor an observer that keeps the process, be its last event lost: %s',
  async (deaf) => {
    seen.deaf = deaf;
    const channel = await Channel.open(OPTIONS);
    const folder = dirname(channel.address.control.replace('ipc://', ''));
    const observer = seen.observers.at(-1);
    expect([existsSync(folder), observer?.closed]).toEqual([true, false]);
    const began = performance.now();
    await channel.close();
    expect([existsSync(folder), observer?.closed]).toEqual([false, true]);
    expect(performance.now() - began).toBeLessThan(deaf ? 2_000 : 450);
  },
);
