import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commitFolder, removeAbandoned, stagingSuffix } from '../../src/artifacts/checkpoints.ts';
import { MANIFEST_NAME, verifyFolder } from '../../src/artifacts/manifest.ts';
import { restoreReplaced } from '../../src/artifacts/replace-folder.ts';
import { resumePoints } from '../../src/artifacts/resume-point.ts';
import { runPaths, writeRunFolder } from '../../src/artifacts/run-folder.ts';
import { JsonlSink } from '../../src/sinks/jsonl.ts';
import { keepLog } from '../fixtures/quiet-log.ts';
import { runRecord } from '../fixtures/run-record.ts';
import { writeSaeFolder, writeTrainingState } from '../fixtures/sae-folder.ts';
import { program } from '../programs.ts';

async function commit(final: string, n: number, kind: 'output' | 'recurring' = 'output'): Promise<void> {
  const staging = `${final}.${stagingSuffix()}`;
  writeSaeFolder(staging);
  if (kind === 'recurring') writeTrainingState(staging, n);
  await commitFolder({
    staging,
    final,
    kind,
    nTrainingSamples: n,
    runnerConfigs: new Map([[null, {}]]),
    keep: true,
  });
}

describe.each(['killed', 'full'] as const)('at any call of the file system %s', (fate) => {
  /** Calls until there are no more: what became of the place each time, and what was said. */
  async function atEachCall(what: 'commit' | 'checkpoint' | 'run', prepare: (place: string) => Promise<void>) {
    const file = await program('writes-that-fail');
    const told = new Set<string>();
    const places: string[] = [];
    for (let n = 0; !told.has('done'); n++) {
      expect(n).toBeLessThan(200);
      const place = mkdtempSync(join(tmpdir(), 'storage-'));
      await prepare(place);
      const run = spawnSync(process.execPath, [file, what, place, String(n), fate], { encoding: 'utf8' });
      if (run.signal !== null) expect(run.signal, run.stderr).toBe('SIGKILL');
      else told.add(run.stdout.trim());
      places.push(place);
    }
    expect(places.length).toBeGreaterThan(8);
    expect([...told].filter((word) => word !== 'done' && word !== '')).toEqual(fate === 'killed' ? [] : ['STORAGE']);
    return places;
  }

  it('a commit leaves the old folder or the new, whole (P1, S2)', async () => {
    const seen = new Set<number>();
    for (const place of await atEachCall('commit', (place) => commit(join(place, 'output'), 1))) {
      await restoreReplaced(join(place, 'output'));
      seen.add((await verifyFolder(join(place, 'output'))).n_training_samples);
      for (const name of readdirSync(place)) {
        const manifest = join(place, name, MANIFEST_NAME);
        if (existsSync(manifest)) await verifyFolder(join(place, name));
      }
      rmSync(place, { recursive: true });
    }
    expect([...seen].sort()).toEqual([1, 2]);
  });

  it('a checkpoint, and the removal of the oldest for it, leave the newest whole one to go on from', async () => {
    const prepare = async (place: string) => {
      for (const n of [64, 128]) await commit(join(place, String(n)), n, 'recurring');
    };
    const seen = new Set<string>();
    for (const place of await atEachCall('checkpoint', prepare)) {
      const passedOver: string[] = [];
      const points: number[] = [];
      for await (const point of resumePoints([place], ({ message }) => passedOver.push(message))) {
        points.push(Number(point.nTrainingSamples));
      }
      expect(passedOver, 'what is half written or half removed has no name of a checkpoint').toEqual([]);
      seen.add(points.join());
      await removeAbandoned({ checkpoints: place, output: join(place, 'output') });
      expect(readdirSync(place).sort()).toEqual(points.map(String).sort());
      rmSync(place, { recursive: true });
    }
    expect([...seen].sort()).toEqual(['128,64', '192,128', '192,128,64']);
  });

  it('config.yaml and run.json are what they were or what they become', async () => {
    const seen = new Set<string>();
    const prepare = async (place: string) => {
      const paths = runPaths({ runsFolder: place, name: 'run' });
      await writeRunFolder(paths, { seed: 1 }, {}, runRecord());
    };
    for (const place of await atEachCall('run', prepare)) {
      const { config, run } = runPaths({ runsFolder: place, name: 'run' });
      const { seed, machine } = JSON.parse(readFileSync(run, 'utf8'));
      seen.add(`${readFileSync(config, 'utf8').trim()}, ${seed}, ${JSON.stringify(machine)}`);
      rmSync(place, { recursive: true });
    }
    expect([...seen].sort()).toEqual([
      'seed: 1, 1, {}',
      'seed: 2, 1, {}',
      'seed: 2, 2, {"threads":2}',
      'seed: 2, 2, {}',
    ]);
  });
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
