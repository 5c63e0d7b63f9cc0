import { fileURLToPath } from 'node:url';
import { ensureEnvironment } from '../src/worker/ensure-environment.ts';

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const progress = (message: string): void => void process.stderr.write(`${message}\n`);

/**
 * The interpreters the tests run with: the worker's with pytest on top, the judge's, SAELens itself, and Jupyter's. Made
 * when they are not there yet; an interpreter named by the variable is taken as it is.
 */
export async function testEnvironments() {
  const { SAE_LENS_TS_PYTHON, SAE_LENS_TS_JUDGE_PYTHON, SAE_LENS_TS_JUPYTER_PYTHON } = process.env;
  return {
    SAE_LENS_TS_PYTHON: SAE_LENS_TS_PYTHON ?? (await layer('requirements.txt')),
    SAE_LENS_TS_JUDGE_PYTHON: SAE_LENS_TS_JUDGE_PYTHON ?? (await judge()),
    SAE_LENS_TS_JUPYTER_PYTHON: SAE_LENS_TS_JUPYTER_PYTHON ?? (await layer('requirements-notebook.txt')),
  };
}

/** Packages on top of the worker's. */
async function layer(requirements: string): Promise<string> {
  const over = await ensureEnvironment({ progress });
  return (await ensureEnvironment({ over, requirements: [file(requirements)], progress })).python;
}

/** Trainers beside SAELens, on top of the worker. */
export async function peersEnvironment(): Promise<string> {
  return process.env.SAE_LENS_TS_PEERS_PYTHON ?? (await layer('requirements-peers.txt'));
}

async function judge(): Promise<string> {
  return (await ensureEnvironment({ requirements: [file('requirements-judge.txt')], progress })).python;
}
