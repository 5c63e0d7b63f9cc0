/**
 * `npm run golden -- DIR`: replay vectors recorded from SAELens (the format of shared/golden) through our own
 * configuration and our own trainer. One line a case; exit 1 when one differs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve as resolvePath } from 'node:path';
import { parseConfigObject } from '../../src/config/index.ts';
import { SaeLensError } from '../../src/errors.ts';
import { requireEnvironment } from '../../src/worker/environment.ts';

type Options = Record<string, unknown>;
interface Recorded {
  steps?: unknown[];
  cfg?: Options & { architecture: string };
}

/** How the 6.x cases were run; their `cfg` is only the SAE's. */
const V6_RUN = {
  model_name: 'golden',
  dataset_path: 'golden',
  hook_name: 'blocks.0.hook_resid_post',
  context_size: 16,
  training_tokens: 320,
  train_batch_size_tokens: 64,
  lr: 1e-3,
  lr_end: 1e-4,
  lr_warm_up_steps: 2,
  lr_decay_steps: 2,
  dead_feature_window: 1,
  feature_sampling_window: 3,
};

const NOT_BUILT = ['abstopk', 'matching_pursuit'];

function v6Config({ metadata, normalize_activations_train, ...sae }: Options): Options {
  return { ...V6_RUN, sae: { ...sae, normalize_activations: normalize_activations_train } };
}

/** What is wrong with a configuration, if that is the error. */
function problemsOf(error: unknown): { path: string; message: string }[] {
  return error instanceof SaeLensError ? ((error.details.problems ?? []) as { path: string; message: string }[]) : [];
}

/**
 * Resolve a case as a user's configuration would be. What we refuse because it has no effect (noise on a gated SAE)
 * is left out and named: the rest of the case still counts.
 */
function resolve(config: Options): { config: unknown; left_out: string[] } {
  try {
    return { config: parseConfigObject(config), left_out: [] };
  } catch (error) {
    const problems = problemsOf(error);
    const idle = problems.flatMap(({ path, message }) => (message.includes('no effect') ? [path] : []));
    if (idle.length === 0 || idle.length < problems.length) throw error;
    const keys = idle.map((path) => path.split('.').at(-1) ?? path);
    const rest = Object.fromEntries(Object.entries(config).filter(([key]) => !keys.includes(key)));
    return { config: parseConfigObject(rest), left_out: keys };
  }
}

/** One JSON line for each case of an index of training; other indexes (of evaluations, say) have none. */
function casesOf(folder: string): string[] {
  const index = join(folder, 'index.json');
  if (!existsSync(index)) return [];
  const cases = Object.entries(JSON.parse(readFileSync(index, 'utf8')) as Record<string, Recorded>);
  if (!cases.some(([, recorded]) => typeof recorded === 'object' && 'steps' in recorded)) return [];
  const others = readdirSync(folder)
    .filter((file) => file.endsWith('.safetensors'))
    .map((file) => basename(file, '.safetensors'))
    .filter((name) => !cases.some(([known]) => known === name));
  if (others.length > 0) console.log(`NOTE    not in ${index}, so not replayed: ${others.join(', ')}`);
  return cases.map(([name, recorded]) => JSON.stringify({ folder, case: name, ...lineOf(recorded) }));
}

/** What replay.py needs to know of a case. 6.x recorded only the SAE's part of a configuration. */
function lineOf({ cfg }: Recorded): object {
  const kind = cfg !== undefined && 'model_name' in cfg ? 'v5' : 'v6';
  if (cfg === undefined) return { kind, error: 'no cfg recorded' };
  if (NOT_BUILT.includes(cfg.architecture)) return { kind, missing: cfg.architecture };
  try {
    return { kind, ...resolve(kind === 'v6' ? v6Config(cfg) : cfg) };
  } catch (error) {
    const problems = problemsOf(error).map(({ path, message }) => `${path}: ${message}`);
    return { kind, error: problems.length > 0 ? `our configuration refuses ${problems.join('; ')}` : String(error) };
  }
}

const [given, ...flags] = process.argv.slice(2);
if (given === undefined) {
  console.error('usage: npm run golden -- DIR [--allow-missing]');
  process.exit(2);
}
// npm runs scripts in the package's folder; the user named DIR from where they stood.
const folder = resolvePath(process.env.INIT_CWD ?? '.', given);
// DIR is all that was recorded, or one of its parts.
const lines = ['.', 'v6', 'v5', 'train', 'v5/train'].flatMap((part) => casesOf(join(folder, part)));
if (lines.length === 0) {
  console.error(`no recorded case of training in ${folder}: no index.json with steps there, in v6/ or in v5/train/`);
  process.exit(1);
}
const python = process.env.SAE_LENS_TS_PYTHON ?? (await requireEnvironment()).python;
const replay = spawnSync(python, ['test/golden/replay.py', ...flags], {
  input: lines.join('\n'),
  stdio: ['pipe', 'inherit', 'inherit'],
  env: { ...process.env, PYTHONPATH: '.', OMP_NUM_THREADS: '1' },
});
process.exit(replay.status ?? 1);
