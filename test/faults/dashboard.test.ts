import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commitFolder, stagingSuffix } from '../../src/artifacts/checkpoints.ts';
import { type RunPaths, runPaths, writeRunFolder } from '../../src/artifacts/run-folder.ts';
import { parseConfigObject } from '../../src/config/index.ts';
import { reportPage } from '../../src/dashboard/report.ts';
import { RunStore } from '../../src/dashboard/run-store.ts';
import { within } from '../../src/worker/deadline.ts';
import { commandLineForTests } from '../command-line.ts';
import { runRecord } from '../fixtures/run-record.ts';
import { writeSaeFolder } from '../fixtures/sae-folder.ts';
import { mutations } from '../mutations.ts';

const ROUNDS = 500;
const READ_DEADLINE_MS = 5_000;
const LARGEST_GROWTH_BYTES = 256 << 20;
const scratch = mkdtempSync(join(tmpdir(), 'dashboard-'));
const { start } = commandLineForTests();
let paths: RunPaths;

beforeAll(async () => {
  paths = runPaths({ runsFolder: scratch, name: 'a-run' });
  const sae = { architecture: 'standard', d_in: 4, d_sae: 8 };
  const config = parseConfigObject({ model_name: 'm', hook_name: 'h', dataset_path: 'd', sae }, () => {});
  const facts = { versions: { node: '20' }, hashes: {}, machine: { threads: 1 }, sizes: { d_in: 4, total_steps: 9 } };
  const record = runRecord({ name: 'a-run', created: '2026-01-01', ...facts });
  await writeRunFolder(paths, config, { 'sae.d_sae': 'flag' }, record);
  // Less than a run writes, which takes three milliseconds to parse.
  writeFileSync(paths.config, 'model_name: m\nhook_name: h\nlr: 3e-4\nsae:\n  architecture: standard\n  d_sae: 8\n');
  const lines = (...rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const metrics = { 'losses/overall_loss': 0.5, 'metrics/l0': 4, 'sparsity/dead_features': 1 };
  writeFileSync(paths.metrics, lines({ step: 0, ...metrics }, { step: 1, ...metrics }, { step: 2, ...metrics }));
  const histogram = { name: 'plots/feature_density_line_chart', counts: [1, 2, 3], edges: [-3, -2, -1, 0] };
  writeFileSync(join(paths.folder, 'histograms.jsonl'), lines({ step: 0, ...histogram }, { step: 1, ...histogram }));
  writeFileSync(paths.log, lines({ level: 30, time: '2026-01-01T00:00:00Z', msg: 'begun' }));
  const final = join(paths.folder, 'checkpoints', '512');
  const staging = `${final}.${stagingSuffix()}`;
  writeSaeFolder(staging);
  const runnerConfigs = new Map([[null, config]]);
  await commitFolder({ staging, final, kind: 'checkpoint', nTrainingSamples: 512, runnerConfigs, keep: false });
  cpSync(paths.folder, join(scratch, 'whole'), { recursive: true });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Everything that is shown of a run; the one beside it must not suffer. */
async function show(): Promise<void> {
  const store = new RunStore(scratch);
  const ids = (await store.list()).map(({ id }) => id);
  expect(ids).toContain('whole');
  if (!ids.includes('a-run')) return;
  const [details, series] = [await store.completeDetails('a-run'), await store.series('a-run')];
  expect(reportPage(details, series)).toContain('</html>');
  JSON.stringify([details, series]);
}

describe('a damaged run does not take the dashboard down (D7, S4)', () => {
  it.each([
    'run.json',
    'config.yaml',
    'metrics.jsonl',
    'histograms.jsonl',
    'log.jsonl',
    'lock.json',
    'checkpoints/512/manifest.json',
  ])('%s, damaged in 500 ways, is shown as far as it can be read', async (name) => {
    const path = join(paths.folder, name);
    const lock = { id: 'x', pid: process.pid, host: 'h', boot: 'b', started: 'now' };
    const whole = name === 'lock.json' ? Buffer.from(JSON.stringify(lock)) : readFileSync(path);
    const before = process.memoryUsage().rss;
    for (const damaged of mutations(whole, ROUNDS, 8)) {
      writeFileSync(path, damaged);
      const said = `${name} as ${JSON.stringify(damaged.toString())}`;
      await within(show(), READ_DEADLINE_MS, () => expect.fail(`${said} is read for ever`)).catch((cause) => {
        throw new Error(said, { cause });
      });
    }
    if (name === 'lock.json') unlinkSync(path);
    else writeFileSync(path, whole);
    expect(process.memoryUsage().rss - before).toBeLessThan(LARGEST_GROWTH_BYTES);
  });

  it.each([
    ['JSON of a hundred thousand levels', (path: string) => writeFileSync(path, deep(path))],
    ['a folder', (path: string) => mkdirSync(path)],
    ['a pipe that nobody writes to', (path: string) => execFileSync('mkfifo', [path])],
  ])('%s in the place of any of its files is not read for ever', async (_, put) => {
    for (const name of ['run.json', 'config.yaml', 'metrics.jsonl', 'histograms.jsonl', 'log.jsonl', 'lock.json']) {
      const path = join(paths.folder, name);
      const whole = name === 'lock.json' ? null : readFileSync(path);
      if (whole !== null) unlinkSync(path);
      put(path);
      await within(show(), READ_DEADLINE_MS, () => expect.fail(`${name} is read for ever`)).catch((cause) => {
        throw new Error(name, { cause });
      });
      rmSync(path, { recursive: true });
      if (whole !== null) writeFileSync(path, whole);
    }
  });
});

function deep(path: string): string {
  const levels = 100_000;
  const json = `{"step":1,"machine":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}}`;
  return path.endsWith('.jsonl') ? `${json}\n` : json;
}

it('an address for other machines is served with a warning of what they can do, and only with its secret (D1)', async () => {
  const command = start(['dashboard', scratch, '--host', '127.0.0.2', '--port', '0']);
  await command.saw('127.0.0.2: whoever has the address below can read these runs and stop them');
  await command.saw('token=');
  const [url = ''] = /http:\S+/.exec(command.stdout) ?? [];
  expect(new URL(url).hostname).toBe('127.0.0.2');
  expect((await fetch(new URL('/api/runs', url))).status).toBe(401);
  process.kill(command.pid, 'SIGTERM');
  await command.ended;
});
