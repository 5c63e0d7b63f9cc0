import type { PythonProbe } from './doctor-probe.ts';

/** One thing that was looked at. `fix` is there unless it is well. */
export interface Finding {
  name: string;
  state: 'ok' | 'warn' | 'fail';
  message: string;
  fix?: string | undefined;
}

export const SETUP = 'sae-lens-ts setup';
const OLDEST_PYTHON = [3, 10] as const;

/** Judges what Python said about itself. `wanted` are the pins of requirements.txt. */
export function judgePython(probe: PythonProbe, wanted: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [judgeVersion(probe)];
  for (const [module, error] of Object.entries(probe.imports)) {
    if (error !== null) {
      findings.push({ name: module, state: 'fail', message: `cannot be imported: ${error}`, fix: SETUP });
    }
  }
  for (const [name, version] of wanted) {
    const found = probe.versions[name] ?? null;
    if (found === null) findings.push({ name, state: 'fail', message: 'is not installed', fix: SETUP });
    // A local label (2.13.0+cpu) names the build, not another version.
    else if (found.split('+')[0] !== version) {
      findings.push({ name, state: 'warn', message: `is ${found}, tested with ${version}`, fix: SETUP });
    } else findings.push({ name, state: 'ok', message: found });
  }
  if (probe.curve === false) {
    findings.push({ name: 'pyzmq curve', state: 'fail', message: 'was built without CURVE', fix: SETUP });
  }
  return [...findings, ...judgeTorch(probe.torch)];
}

function judgeVersion({ python, executable }: PythonProbe): Finding {
  const [major = 0, minor = 0] = python.split('.').map(Number);
  const old = major < OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor < OLDEST_PYTHON[1]);
  const message = `${python} at ${executable}`;
  if (!old) return { name: 'python', state: 'ok', message };
  return { name: 'python', state: 'fail', message: `${message}; 3.10 is the oldest that works`, fix: SETUP };
}

function judgeTorch(torch: PythonProbe['torch']): Finding[] {
  // A torch that cannot be imported is a finding already.
  if (torch === null) return [];
  const findings: Finding[] = [
    {
      name: 'cpu',
      state: 'ok',
      message: `${torch.cpu_capability}, ${torch.threads} threads, bfloat16 ${yes(torch.bf16.cpu)}`,
    },
  ];
  if (torch.cuda_devices.length > 0) {
    const message = `${torch.cuda_devices.join(', ')} · CUDA ${torch.cuda_build} · bfloat16 ${yes(torch.bf16.cuda ?? false)}`;
    findings.push({ name: 'cuda', state: 'ok', message });
  } else if (torch.cuda_build !== null) {
    const message = `torch is built for CUDA ${torch.cuda_build} and sees no device`;
    findings.push({ name: 'cuda', state: 'warn', message, fix: 'install the NVIDIA driver, or set device: cpu' });
  } else if (torch.driver) {
    const message = 'there is an NVIDIA driver and torch is built without CUDA';
    findings.push({ name: 'cuda', state: 'warn', message, fix: `${SETUP} --torch cuda` });
  }
  if (torch.mps) findings.push({ name: 'mps', state: 'ok', message: 'available' });
  return findings;
}

const yes = (value: boolean): string => (value ? 'yes' : 'no');
