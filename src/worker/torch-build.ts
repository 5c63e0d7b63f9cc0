import { execa } from 'execa';

/** What the user asks for: `auto` looks for a GPU. */
export type TorchChoice = 'auto' | 'cpu' | 'cuda';
/** What is installed: `default` is what the platform's own wheels are (macOS). */
export type TorchBuild = 'cpu' | 'cuda' | 'default';

/** PyTorch's own index of CPU builds, which PyPI does not carry for Linux. `SAE_LENS_TS_TORCH_INDEX` replaces it. */
const CPU_INDEX = 'https://download.pytorch.org/whl/cpu';
const GPU_PROBE_TIMEOUT_MS = 15_000;
const DRY_RUN_TIMEOUT_MS = 300_000;

/** Decides which build this machine should have. */
export async function chooseTorchBuild(choice: TorchChoice, env: NodeJS.ProcessEnv): Promise<TorchBuild> {
  if (process.platform === 'darwin') return 'default';
  if (choice !== 'auto') return choice;
  const probe = await execa('nvidia-smi', ['-L'], {
    env,
    extendEnv: false,
    reject: false,
    timeout: GPU_PROBE_TIMEOUT_MS,
    stdin: 'ignore',
  });
  return !probe.failed && probe.stdout.includes('GPU') ? 'cuda' : 'cpu';
}

/**
 * The pip options that give the CPU build of `requirement` (`torch==2.13.0`). Pip is asked first what it would take:
 * where that is a CPU build already (a wheel of the machine's own, Windows, ARM), nothing is overridden.
 */
export async function cpuIndexOptions(pip: readonly string[], requirement: string, env: NodeJS.ProcessEnv) {
  if (env.SAE_LENS_TS_TORCH_INDEX) return ['--index-url', env.SAE_LENS_TS_TORCH_INDEX];
  if (process.platform !== 'linux') return [];
  const [command = '', ...prefix] = pip;
  const options = ['install', '--quiet', '--dry-run', '--ignore-installed', '--no-deps', '--report', '-', requirement];
  const report = await execa(command, [...prefix, ...options], {
    env,
    extendEnv: false,
    reject: false,
    timeout: DRY_RUN_TIMEOUT_MS,
    stdin: 'ignore',
  });
  return !report.failed && isCpuWheel(report.stdout) ? [] : ['--index-url', CPU_INDEX];
}

/** Whether pip's report names a wheel that lies on this machine or says `+cpu`. */
function isCpuWheel(report: string): boolean {
  const { install } = JSON.parse(report) as {
    install: { download_info: { url: string }; metadata: { version: string } }[];
  };
  return install.every(
    (wheel) => wheel.download_info.url.startsWith('file:') || wheel.metadata.version.includes('+cpu'),
  );
}
