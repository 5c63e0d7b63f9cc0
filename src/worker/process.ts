import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { LogLines } from './log-lines.ts';
import { oomKillCounter } from './oom-kills.ts';
import { packageRoot } from './package-root.ts';

/**
 * What a worker may know of our environment: no LD_PRELOAD, PYTHONSTARTUP, PYTHONPATH, and of secrets the hub's alone,
 * which it needs for gated models. (W&B's client runs in a process of its own.)
 */
const ALLOWED_VARIABLES =
  /^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX|XDG_.*|HF_.*|HUGGING_?FACE_.*|HUGGINGFACE_.*|TRANSFORMERS_.*|DATASETS_.*|TOKENIZERS_.*|CUDA_.*|CUBLAS_.*|NVIDIA_.*|NCCL_.*|ROCR_.*|HIP_.*|OMP_.*|MALLOC_.*|MKL_.*|OPENBLAS_.*|KMP_.*|TORCH.*|PYTORCH_.*|TRITON_.*|SSL_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|HTTPS?_PROXY|NO_PROXY|ALL_PROXY|https?_proxy|no_proxy|all_proxy|SAE_LENS_TS_.*)$/;

/**
 * glibc gives memory back to the kernel as soon as a tensor of some megabytes is gone, and faults it in again, page by
 * page, for the next one: about a tenth of the time of a pass of SmolLM2-135M on a CPU. So the worker keeps what is
 * smaller than the first number, and up to the second of it. Whoever sets these himself is heard; other allocators do
 * not know them.
 */
const KEPT_MEMORY = { MALLOC_MMAP_THRESHOLD_: String(2 ** 28), MALLOC_TRIM_THRESHOLD_: String(2 ** 30) };

const live = new Set<WorkerProcess>();
let watching = false;

export interface ProcessOptions {
  python: string;
  entry: string;
  env: Record<string, string>;
  onLine: (stream: 'stdout' | 'stderr', line: string) => void;
}

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** While it lived the kernel killed a process of its cgroup for memory, and it was killed: the same work would end so. */
  outOfMemory: boolean;
}

/** Kills every worker and its children at once: when we cannot go on ourselves. */
function killWorkers(): void {
  for (const worker of live) worker.kill();
}

/** The script a worker runs. */
export const defaultEntry = (): string => join(packageRoot(), 'pyworker', '__main__.py');

/** How to keep memory, the allowed part of `env`, and what was added on purpose: what comes later is heard. */
export function workerEnvironment(env: NodeJS.ProcessEnv, added: Record<string, string>): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && ALLOWED_VARIABLES.test(entry[0]),
  );
  return { ...KEPT_MEMORY, ...Object.fromEntries(kept), ...added };
}

/** A Python process that leads its own group: Ctrl-C reaches only us, and killing the group ends its children too. */
export class WorkerProcess {
  readonly pid: number | undefined;
  readonly command: string;
  /** The last lines of stdout and stderr. */
  readonly log: LogLines;
  /** Resolves once, when the process is gone or could not be started. */
  readonly exited: Promise<Exit & { spawnError?: Error }>;
  readonly #child: ChildProcess;
  readonly #oomKills = oomKillCounter();
  readonly #oomKillsBefore = this.#oomKills();
  #gone = false;

  constructor(options: ProcessOptions) {
    // -I: neither PYTHON* variables, nor the current folder, nor user packages change what the worker runs.
    const args = ['-I', '-u', options.entry];
    this.command = [options.python, ...args].join(' ');
    this.log = new LogLines(options.onLine);
    this.#child = spawn(options.python, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: workerEnvironment(process.env, options.env),
    });
    this.pid = this.#child.pid;
    this.#child.stdout?.on('data', (chunk: Buffer) => this.log.push('stdout', chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => this.log.push('stderr', chunk));
    // A worker that died before reading its boot line is reported by its exit, not by a broken pipe.
    this.#child.stdin?.on('error', () => {});
    this.exited = new Promise((resolve) => {
      this.#child.on('error', (spawnError) =>
        this.#end(() => resolve({ code: null, signal: null, outOfMemory: false, spawnError })),
      );
      this.#child.on('exit', (code, signal) => {
        const outOfMemory = signal === 'SIGKILL' && (this.#oomKills() ?? 0) > (this.#oomKillsBefore ?? 0);
        void this.#end(() => resolve({ code, signal, outOfMemory }));
      });
    });
    live.add(this);
    if (!watching) {
      watching = true;
      process.on('exit', killWorkers);
    }
  }

  /** Writes the boot line. stdin stays open: its end is how the worker learns that we are gone. */
  boot(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Asks Python's faulthandler for the stacks of all threads; they come on stderr. */
  dumpStacks(): void {
    if (!this.#gone) this.#child.kill('SIGUSR1');
  }

  /** Kills the whole group. Harmless when it is gone. */
  kill(): void {
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // ESRCH: nothing is left of the group
    }
  }

  async #end(resolve: () => void): Promise<void> {
    this.#gone = true;
    // What the worker left behind: its guardian, data-loader children.
    this.kill();
    live.delete(this);
    // Its last words may still be in the pipe; a grandchild that holds the pipe open must not keep us waiting.
    await new Promise<void>((done) => {
      const timer = setTimeout(done, LAST_WORDS_MS);
      this.#child.once('close', () => {
        clearTimeout(timer);
        done();
      });
    });
    this.log.flush();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    resolve();
  }
}

const LAST_WORDS_MS = 500;
