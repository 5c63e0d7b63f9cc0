import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseConfigObject } from '../../../src/config/index.ts';
import { ARCHITECTURES } from '../../../src/config/sae-schema.ts';
import { SHARED } from '../../shared-folder.ts';

// Of 6.54.12 test/python/interop/test_judged_saes.py compares them with SAELens itself.
const recorded = JSON.parse(readFileSync('src/config/generate/saelens-fields.json', 'utf8'));
const GOLDEN = `${SHARED}/golden/v5/config_v5.json`;

test.skipIf(!existsSync(GOLDEN))('the fields of SAELens 5 are those that were recorded of 5.10.7', () => {
  expect(recorded['5.10.7']).toEqual(JSON.parse(readFileSync(GOLDEN, 'utf8')).defaults);
});

test.each(ARCHITECTURES)('every field of SAELens is accepted with its default: a run of %s', (architecture) => {
  const { LanguageModelSAERunnerConfig: run, LoggingConfig: logger, TrainingSAEConfig: saes } = recorded['6.54.12'];
  const widths = architecture === 'matryoshka_batchtopk' ? { matryoshka_widths: [128] } : {};
  const sae = { ...saes[architecture], metadata: {}, architecture, d_in: 512, d_sae: 1024, ...widths };
  // Without a dataset, and with a buffer smaller than a batch, SAELens' own defaults cannot run.
  const config = parseConfigObject({ ...run, logger, sae, dataset_path: 'text', n_batches_in_buffer: 64 });
  expect(config.sae).toMatchObject({ architecture, d_sae: 1024 });
});
