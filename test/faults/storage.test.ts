import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commitFolder, stagingSuffix } from '../../src/artifacts/checkpoints.ts';
import { verifyFolder } from '../../src/artifacts/manifest.ts';
import { restoreReplaced } from '../../src/artifacts/replace-folder.ts';
import { JsonlSink } from '../../src/sinks/jsonl.ts';
import { keepLog } from '../fixtures/quiet-log.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';
import { program } from '../programs.ts';

async function commit(final: string, n: number): Promise<void> {
  const staging = `${final}.${stagingSuffix()}`;
  writeSaeFolder(staging);
  await commitFolder({
    staging,
    final,
    kind: 'output',
    nTrainingSamples: n,
    runnerConfigs: new Map([[null, {}]]),
    keep: true,
  });
}

it('a kill before any file system call of a commit leaves the old folder or the new, whole (P1, S2)', async () => {
  const file = await program('commit-killed');
  const seen = new Set<number>();
  for (let n = 0; ; n++) {
    const final = join(mkdtempSync(join(tmpdir(), 'storage-')), 'output');
    await commit(final, 1);
    const run = spawnSync(process.execPath, [file, final, String(n)], { encoding: 'utf8' });
    await restoreReplaced(final);
    seen.add((await verifyFolder(final)).n_training_samples);
    rmSync(dirname(final), { recursive: true });
    if (run.stdout.includes('done')) break;
    expect(run.signal, run.stderr).toBe('SIGKILL');
    expect(n).toBeLessThan(100);
  }
  expect([...seen].sort()).toEqual([1, 2]);
});

const disk = mkdtempSync(join(tmpdir(), 'full-disk-'));
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status === 0;
afterAll(() => {
  if (mounted) spawnSync('umount', [disk]);
});

describe.skipIf(!mounted)('a full disk (needs the right to mount a tmpfs)', () => {
  beforeAll(() => mkdirSync(join(disk, 'checkpoints')));

  it('costs a checkpoint and leaves the older ones and no partial folder (S1)', async () => {
    const checkpoints = join(disk, 'checkpoints');
    await commit(join(checkpoints, '1'), 1);
    const staging = `${join(checkpoints, '2')}.${stagingSuffix()}`;
    writeSaeFolder(staging);
    try {
      writeFileSync(join(disk, 'filler'), Buffer.alloc(1 << 20));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    }
    const options = {
      staging,
      final: join(checkpoints, '2'),
      kind: 'checkpoint',
      nTrainingSamples: 2,
      runnerConfigs: new Map([[null, {}]]),
      keep: false,
    } as const;
    await expect(commitFolder(options)).rejects.toMatchObject({
      code: 'STORAGE',
      hint: expect.stringContaining('free space'),
    });
    expect(readdirSync(checkpoints)).toEqual(['1']);
    await verifyFolder(join(checkpoints, '1'));
    rmSync(join(disk, 'filler'));
  });

  it('costs rows of metrics.jsonl, of which those that are there stay whole', async () => {
    const path = join(disk, 'metrics.jsonl');
    const log = keepLog();
    const sink = new JsonlSink(path, log);
    for (let step = 0; step < 3_000; step++) {
      sink.consume({ kind: 'metrics', step, row: { 'losses/mse_loss': 1 } });
      if (step % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await sink.close();
    expect(sink.dropped).toBeGreaterThan(0);
    expect(log.lines[0]).toContain('ENOSPC');
    for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) JSON.parse(line);
  });
});
