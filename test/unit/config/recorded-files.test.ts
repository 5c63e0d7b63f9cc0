import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { fileLayer, resolveConfig } from '../../../src/config/index.ts';
import type { SaeLensError } from '../../../src/errors.ts';
import { SHARED } from '../../shared-folder.ts';

const golden = join(SHARED, 'golden');
const files = existsSync(golden)
  ? readdirSync(golden, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /^(runner_)?cfg\.json$/.test(basename(file)),
    )
  : [];
const flags = { kind: 'flags' as const, source: 'the command line', value: { dataset_path: 'text' } };

/** What resolving a recorded file with a dataset gives: the notices, and the problems. */
function outcome(file: string, options: object = {}): { notices: readonly string[]; problems: string[] } {
  try {
    const value = { ...flags.value, ...options };
    return { notices: resolveConfig([fileLayer(join(golden, file)), { ...flags, value }]).notices, problems: [] };
  } catch (error) {
    const { problems } = (error as SaeLensError).details as { problems: { path: string; message: string }[] };
    return { notices: [], problems: problems.map(({ path, message }) => `${path} ${message}`) };
  }
}

test.skipIf(!existsSync(golden))('every file that SAELens wrote is a configuration', () => {
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) {
    expect({ file, problems: outcome(file).problems }).toEqual({ file, problems: [] });
  }
});

test.skipIf(!existsSync(golden))(
  'what SAELens 5 wrote in vain is told in one line, what a flag asks is refused',
  () => {
    const file = 'v5/checkpoints/topk/cfg.json';
    expect(outcome(file).notices).toEqual([
      expect.stringMatching(
        /cfg\.json: left out what has no effect with architecture topk: l1_coefficient, l1_warm_up_steps$/,
      ),
    ]);
    expect(outcome(file, { l1_coefficient: 2 }).problems).toEqual([
      expect.stringContaining('sae.l1_coefficient has no effect with architecture topk'),
    ]);
  },
);
