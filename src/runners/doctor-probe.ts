import { join } from 'node:path';
import { execa } from 'execa';
import { packageRoot } from '../worker/package-root.ts';
import { PythonSession } from '../worker/pythonia.ts';

/** Importing torch with CUDA from a cold disk takes the better part of this. */
const PROBE_DEADLINE_MS = 120_000;
/** What the worker imports. */
const MODULES = [
  'torch',
  'transformers',
  'transformer_lens',
  'datasets',
  'zmq',
  'pyarrow',
  'msgspec',
  'safetensors',
  'wandb',
];

/** What pyworker/facade/doctor_probe.py answers. */
export interface PythonProbe {
  python: string;
  executable: string;
  versions: Record<string, string | null>;
  imports: Record<string, string | null>;
  torch: {
    version: string;
    cuda_build: string | null;
    cuda_devices: string[];
    driver: boolean;
    mps: boolean;
    cpu_capability: string;
    threads: number;
    bf16: { cpu: boolean; cuda: boolean | null };
  } | null;
  curve: boolean | null;
}

/**
 * Asks the interpreter through pythonia and, where that dies, as a plain process: what it prints then says more than a
 * lost channel. Throws when neither works.
 */
export async function probePython(python: string, distributions: readonly string[]): Promise<PythonProbe> {
  const session = await PythonSession.start({ python }).catch(() => null);
  if (session !== null) {
    try {
      return await session.call(
        'pyworker.facade.doctor_probe',
        'probe',
        [distributions, MODULES],
        {},
        PROBE_DEADLINE_MS,
      );
    } catch {
      // A library that crashes on import takes the session with it; the plain process shows how.
    } finally {
      await session.close();
    }
  }
  const script = join(packageRoot(), 'pyworker', 'facade', 'doctor_probe.py');
  const { stdout } = await execa(python, [script, JSON.stringify([distributions, MODULES])], {
    timeout: PROBE_DEADLINE_MS,
    stdin: 'ignore',
  });
  return JSON.parse(stdout) as PythonProbe;
}
