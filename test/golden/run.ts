/**
 * `npm run golden -- DIR`: replay vectors recorded from SAELens (the format of shared/golden) through our own
 * configuration and our own trainer. One line a case; exit 1 when one differs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve as resolvePath } from 'node:path';
import { parseConfigObject } from '../../src/config/index.ts';
import { SaeLensError } from '../../src/errors.ts';
import { requireEnvironment } from '../../src/worker/environment.ts';

type Options = Record<string, unknown>;
interface Recorded {
  cfg: Options & { architecture: string };
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

const NOT_BUILT = ['abstopk', 'batchtopk', 'matryoshka_batchtopk', 'matching_pursuit'];

function v6Config({ metadata, normalize_activations_train, ...sae }: Options): Options {
  return { ...V6_RUN, sae: { ...sae, normalize_activations: normalize_activations_train } };
}

/**
 * Resolve a case as a user's configuration would be. What we refuse because it has no effect (noise on a gated SAE)
 * is left out and named: the rest of the case still counts.
 */
function resolve(config: Options): { config: unknown; left_out: string[] } {
  try {
    return { config: parseConfigObject(config), left_out: [] };
  } catch (error) {
    if (!(error instanceof SaeLensError)) throw error;
    const problems = (error.details.problems ?? []) as { path: string; message: string }[];
    const idle = problems.filter(({ message }) => message.includes('no effect')).map(({ path }) => path);
    if (idle.length === 0 || idle.length < problems.length) throw error;
    const keys = idle.map((path) => path.split('.').at(-1) ?? path);
    const rest = Object.fromEntries(Object.entries(config).filter(([key]) => !keys.includes(key)));
    return { config: parseConfigObject(rest), left_out: keys };
  }
}

/** One JSON line for each case of an index. */
function casesOf(folder: string, kind: 'v5' | 'v6'): string[] {
  const index = join(folder, 'index.json');
  if (!existsSync(index)) return [];
  const cases = JSON.parse(readFileSync(index, 'utf8')) as Record<string, Recorded>;
  return Object.entries(cases).map(([name, { cfg }]) => {
    const line = { kind, folder, case: name };
    if (NOT_BUILT.includes(cfg.architecture)) return JSON.stringify({ ...line, missing: cfg.architecture });
    try {
      return JSON.stringify({ ...line, ...resolve(kind === 'v6' ? v6Config(cfg) : cfg) });
    } catch (error) {
      return JSON.stringify({ ...line, error: String(error) });
    }
  });
}

const [given, ...flags] = process.argv.slice(2);
if (given === undefined) {
  console.error('usage: npm run golden -- DIR [--allow-missing]');
  process.exit(2);
}
// npm runs scripts in the package's folder; the user named DIR from where they stood.
const folder = resolvePath(process.env.INIT_CWD ?? '.', given);
const lines = [...casesOf(join(folder, 'v6'), 'v6'), ...casesOf(join(folder, 'v5', 'train'), 'v5')];
const python = process.env.SAE_LENS_TS_PYTHON ?? (await requireEnvironment()).python;
const replay = spawnSync(python, ['test/golden/replay.py', ...flags], {
  input: lines.join('\n'),
  stdio: ['pipe', 'inherit', 'inherit'],
  env: { ...process.env, PYTHONPATH: '.', OMP_NUM_THREADS: '1' },
});
process.exit(replay.status ?? 1);
