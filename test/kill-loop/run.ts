/**
 * `npm run kill-loop -- [--times 500] [--seed N]`: test/faults/kill-loop.test.ts with more kills than `npm test` has time
 * for. The seed that it prints gives the same moments again, as far as the machine is as busy.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { testEnvironments } from '../environments.ts';

const { values } = parseArgs({ options: { times: { type: 'string', default: '500' }, seed: { type: 'string' } } });
const { status } = spawnSync(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', 'test/faults/kill-loop.test.ts'],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      ...(await testEnvironments()),
      SAE_LENS_TS_KILLS: values.times,
      ...(values.seed === undefined ? {} : { SAE_LENS_TS_KILLS_SEED: values.seed }),
    },
  },
);
process.exitCode = status ?? 1;
