import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, vi } from 'vitest';
import { MARKER, marked, newMarker, orphans } from './orphans.ts';
import { pythonForTests } from './python-for-tests.ts';

const BIN = resolve('bin/sae-lens-ts.js');
const SAW_DEADLINE_MS = 90_000;
const TEST_MS = 180_000;

/** How a command ended. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

export interface CommandOptions {
  /** Over the tests' own variables; undefined takes one away. */
  env?: Record<string, string | undefined>;
  stdio?: SpawnOptions['stdio'];
}

/** `sae-lens-ts` as a process. */
export class Command {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(program: string, words: readonly string[], options: SpawnOptions) {
    const began = performance.now();
    this.child = spawn(program, words, options);
    this.pid = this.child.pid as number;
    this.child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    this.ended = new Promise((done, fail) => {
      this.child.on('error', fail);
      this.child.on('close', (code, signal) => {
        const seconds = (performance.now() - began) / 1000;
        done({ code, signal, stdout: this.stdout, stderr: this.stderr, seconds });
      });
    });
  }

  /** Waits until stdout or stderr hold this. */
  async saw(text: string): Promise<void> {
    const end = performance.now() + SAW_DEADLINE_MS;
    while (!this.stdout.includes(text) && !this.stderr.includes(text)) {
      const gone = this.child.exitCode !== null || this.child.signalCode !== null;
      if (gone || performance.now() > end) throw new Error(`never saw "${text}" in:\n${this.stdout}\n${this.stderr}`);
      await new Promise((next) => setTimeout(next, 20));
    }
  }
}

/** The built command line for one test file, in a folder of its own; at the end nothing of it may be left. */
export function commandLineForTests() {
  // Every run imports torch, which takes its time on a busy machine.
  vi.setConfig({ testTimeout: TEST_MS, hookTimeout: TEST_MS });
  const marker = newMarker();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sae-lens-ts-cli-')));
  const environment = (env: CommandOptions['env'] = {}): NodeJS.ProcessEnv => {
    const { PATH, HOME, SAE_LENS_TS_HOME } = process.env;
    const own = { SAE_LENS_TS_PYTHON: pythonForTests(), HF_HUB_OFFLINE: '1', OMP_NUM_THREADS: '1', NO_COLOR: '1' };
    const all = { PATH, HOME, SAE_LENS_TS_HOME, ...own, [MARKER]: marker, ...env };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  };
  afterAll(async () => {
    expect(await orphans(marker), 'processes left behind').toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  });
  const start = (words: readonly string[], { env, stdio }: CommandOptions = {}): Command =>
    new Command(process.execPath, [BIN, ...words], {
      cwd: folder,
      env: environment(env),
      stdio: stdio ?? ['ignore', 'pipe', 'pipe'],
    });
  const startShell = (line: string, env: CommandOptions['env'] = {}): Command =>
    new Command('bash', ['-c', line], {
      cwd: folder,
      env: environment({ CLI: `${process.execPath} ${BIN}`, ...env }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  return {
    /** Where commands run; the run folders lie in `runs`. */
    folder,
    marker,
    environment,
    start,
    startShell,
    run: (words: readonly string[], options?: CommandOptions): Promise<Ended> => start(words, options).ended,
    /** The Python process that a command started. */
    workerOf: (command: Command): number => {
      const facts = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8');
      return marked(marker).find((pid) => facts(pid).includes(`\nPPid:\t${command.pid}\n`)) as number;
    },
    /** A line for the shell, with the command as `$CLI`. */
    shell: (line: string, env: CommandOptions['env'] = {}): Promise<Ended> => startShell(line, env).ended,
  };
}

/** The events of `--json`, each line checked to be JSON. */
export const events = (stdout: string): Record<string, unknown>[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
