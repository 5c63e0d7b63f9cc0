import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { oomKillCounter } from '../../../src/worker/oom-kills.ts';

/** Files as a kernel shows them; what counts in them. */
function counterIn(own: string, files: Record<string, string>) {
  const place = mkdtempSync(join(tmpdir(), 'cgroup-'));
  const write = (name: string, text: string): void => {
    mkdirSync(dirname(join(place, name)), { recursive: true });
    writeFileSync(join(place, name), text);
  };
  write('own', own);
  for (const [name, text] of Object.entries(files)) write(`mounted/${name}`, text);
  return { count: oomKillCounter(join(place, 'own'), join(place, 'mounted')), write };
}

const EVENTS = 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n';
const CONTROL = 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n';

test.each([
  ['version 2', '0::/user/run\n', { 'user/run/memory.events': EVENTS }],
  ['version 2, in a container', '0::/\n', { 'memory.events': EVENTS }],
  ['version 1', '9:name=systemd:/\n4:cpu,memory:/run\n0::/\n', { 'memory/run/memory.oom_control': CONTROL }],
  ['version 1, in a container', '4:memory:/docker/0a\n', { 'memory/memory.oom_control': CONTROL }],
])('kills for memory are counted in our own cgroup: %s', (_, own, files: Record<string, string>) => {
  const { count, write } = counterIn(own, { ...files, 'memory/other/memory.oom_control': CONTROL.replace('2', '9') });
  expect(count()).toBe(2);
  const [[name, text]] = Object.entries(files) as [[string, string]];
  write(`mounted/${name}`, text.replace('oom_kill 2', 'oom_kill 3'));
  expect(count()).toBe(3);
});

test.each([
  ['the root of version 2, which counts nothing', '0::/\n', {}],
  ['a kernel that does not tell', '4:memory:/\n', { 'memory/memory.oom_control': 'oom_kill_disable 0\n' }],
  ['no cgroups', '', {}],
])('it is not known with %s', (_, own, files) => {
  expect(counterIn(own, files).count()).toBe(null);
});
