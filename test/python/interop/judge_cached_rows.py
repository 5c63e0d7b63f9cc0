"""Run by the judge's Python: SAELens caches activations.

Arguments: model folder, JSON file of token rows, hook name, context size, dtype, and the folder of the
cache, which gets several shards.
"""

import sys

import datasets
import torch
from sae_lens import CacheActivationsRunner
from sae_lens.config import CacheActivationsRunnerConfig

model, dataset, hook, context, dtype, cache = sys.argv[1:]
torch.set_num_threads(1)
WIDTH, BATCH = 32, 4
sequence_bytes = int(context) * WIDTH * (2 if dtype == "float16" else 4)
CacheActivationsRunner(
    CacheActivationsRunnerConfig(
        dataset_path=dataset,
        model_name=model,
        model_class_name="AutoModelForCausalLM",
        model_batch_size=BATCH,
        hook_name=hook,
        d_in=WIDTH,
        context_size=int(context),
        training_tokens=48 * int(context),
        new_cached_activations_path=cache,
        buffer_size_gb=4 * BATCH * sequence_bytes / 1e9,
        shuffle=False,
        dtype=dtype,
        device="cpu",
        streaming=False,
    ),
    override_dataset=datasets.Dataset.from_json(dataset),
).run()
