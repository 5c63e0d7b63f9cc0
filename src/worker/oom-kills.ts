import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Counts the processes that the kernel has killed for memory in the cgroup that we are in, and a child is born in:
 * `memory.events` of version 2, `memory.oom_control` of version 1 (cgroups(7)). What it kills elsewhere on the machine
 * is not counted. The count is null where there is no such group.
 *
 * @param own tells which groups we are in
 * @param mounted where they are mounted
 */
export function oomKillCounter(own = '/proc/self/cgroup', mounted = '/sys/fs/cgroup'): () => number | null {
  const files = [...(read(own) ?? '').matchAll(/^\d+:([^:]*):(.*)$/gm)].flatMap(([, controllers = '', path = '']) => {
    const isOld = controllers.split(',').includes('memory');
    if (!isOld && controllers !== '') return [];
    const [root, name] = isOld ? [join(mounted, 'memory'), 'memory.oom_control'] : [mounted, 'memory.events'];
    // A container may see its own group as the root, and its path as the machine names it.
    return [join(root, path, name), join(root, name)];
  });
  const file = files.find((one) => countIn(one) !== null);
  return () => (file === undefined ? null : countIn(file));
}

function countIn(file: string): number | null {
  const count = /^oom_kill (\d+)$/m.exec(read(file) ?? '')?.[1];
  return count === undefined ? null : Number(count);
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
