import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readDataFile } from './data-file.ts';
import type { About, ExampleGroup, LatentDetail } from './format.ts';
import { chunkName } from './layout.ts';

/**
 * Writes the latents of a folder of features as Neuronpedia's importer takes them: `batch-N.json` with those that were
 * active, `skipped_indexes.json` with those that were not.
 *
 * @param folder of features, with its data
 * @param target a new folder
 */
export async function exportNeuronpedia(folder: string, target: string): Promise<void> {
  const about = await readDataFile(join(folder, 'data', 'about.js'), 'about');
  const { index, density } = await readDataFile(join(folder, 'data', 'latents.js'), 'latents');
  const source = sourceOf(about);
  await mkdir(target);
  for (let n = 0; n * about.latents_per_chunk < about.n_latents; n++) {
    const latents = await readDataFile(join(folder, 'data', chunkName(n)), 'chunk');
    const features = latents.flatMap((latent, place) => {
      const share = density[n * about.latents_per_chunk + place] as number;
      return share === 0 ? [] : [featureOf(about, share, latent)];
    });
    await writeFile(join(target, `batch-${n}.json`), JSON.stringify({ ...source, sae_id_suffix: null, features }));
  }
  const skipped_indexes = index.filter((_, row) => density[row] === 0);
  const skipped = { ...source, layer: String(source.layer), skipped_indexes };
  await writeFile(join(target, 'skipped_indexes.json'), JSON.stringify(skipped));
}

const sourceOf = ({ model_name, layer, name }: About) => ({
  model_id: model_name,
  layer: layer ?? 0,
  sae_set: name,
});

/** Neuronpedia's number for a range that is none: that of the top examples. */
const TOP = { bin_min: -1, bin_contains: -1 };

/**
 * A latent in the words of Neuronpedia's batch files, as SAEDashboard's runner writes them
 * (sae_dashboard/neuronpedia/neuronpedia_dashboard.py, 0.8.0). What is not computed here, such as correlation with
 * neurons, is empty, as it is there without those tables. `correlated_features_pearson` is that of being active.
 */
function featureOf(about: About, density: number, latent: LatentDetail) {
  const activations = middles(latent.activation_histogram);
  const logits = latent.logit_histogram === null ? { values: [], heights: [] } : middles(latent.logit_histogram);
  return {
    feature_index: latent.index,
    neuron_alignment_indices: [],
    neuron_alignment_values: [],
    neuron_alignment_l1: [],
    correlated_neurons_indices: [],
    correlated_neurons_l1: [],
    correlated_neurons_pearson: [],
    correlated_features_indices: latent.co_active.map(([index]) => index),
    correlated_features_l1: [],
    correlated_features_pearson: latent.co_active.map(([, value]) => value),
    neg_str: latent.negative_logits.map(([token]) => token),
    neg_values: latent.negative_logits.map(([, value]) => value),
    pos_str: latent.positive_logits.map(([token]) => token),
    pos_values: latent.positive_logits.map(([, value]) => value),
    frac_nonzero: density,
    freq_hist_data_bar_values: activations.values,
    freq_hist_data_bar_heights: activations.heights,
    logits_hist_data_bar_heights: logits.heights,
    logits_hist_data_bar_values: logits.values,
    n_prompts_total: about.n_sequences,
    n_tokens_in_prompt: about.context_size,
    dataset: about.dataset_path,
    decoder_weights_dist: [],
    activations: latent.groups.flatMap((group) => activationsOf(group, latent.groups)),
    vector: [],
  };
}

function activationsOf(group: ExampleGroup, groups: readonly ExampleGroup[]) {
  const all = groups.reduce((sum, { name, count }) => (name === 'top' ? sum : sum + count), 0);
  const largest = Math.max(...groups.map(({ high }) => high ?? 0));
  const range =
    group.low === null || group.high === null
      ? { ...TOP, bin_max: largest }
      : { bin_min: group.low, bin_max: group.high, bin_contains: group.count / all };
  return group.examples.map(({ tokens, values, peak }) => ({
    ...range,
    tokens,
    values,
    qualifying_token_index: peak,
  }));
}

function middles({ edges, counts }: { edges: readonly number[]; counts: readonly number[] }) {
  const values = counts.map((_, n) => ((edges[n] as number) + (edges[n + 1] as number)) / 2);
  return { values, heights: [...counts] };
}
