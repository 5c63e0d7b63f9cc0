"""Run by the Python of the judge environment: SAELens reads our caches of activations and writes one of its own.

``judge_cache.py REQUEST RESULTS``: ``REQUEST`` is JSON, ``{"model", "dataset", "read": [{"path", "hook_name", "d_in",
"context", "dtype"}], "write": {"path", …}}``; ``RESULTS`` gets what SAELens' store serves of each, in its order, and
what ``datasets`` reads of the one that was written.
"""

import json
import sys
from pathlib import Path

import torch
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig
from sae_lens.training.activations_store import ActivationsStore
from safetensors.torch import save_file
from transformer_lens import loading_from_pretrained

PROMPTS = 2


def config(request: dict, path: str, hook_name: str, d_in: int, context: int, dtype: str, n_sequences: int):
    return CacheActivationsRunnerConfig(
        dataset_path=request["dataset"],
        model_name=request["model"],
        model_batch_size=PROMPTS,
        hook_name=hook_name,
        d_in=d_in,
        training_tokens=n_sequences * context,
        context_size=context,
        new_cached_activations_path=path,
        shuffle=False,
        dtype=dtype,
        device="cpu",
        buffer_size_gb=n_sequences // 2 * context * d_in * 4 / 1e9,
    )


def served(store: ActivationsStore) -> tuple[torch.Tensor, torch.Tensor]:
    parts = []
    while True:
        try:
            parts.append(store.get_raw_llm_batch(raise_on_epoch_end=True))
        except StopIteration:
            break
    return torch.cat([x for x, _ in parts]), torch.cat([ids for _, ids in parts])


request, results = json.loads(Path(sys.argv[1]).read_text()), {}
torch.set_num_threads(1)
loading_from_pretrained.OFFICIAL_MODEL_NAMES.append(request["model"])
runner = CacheActivationsRunner(config(request, **request["write"]))
rows = runner.run().with_format("torch")
results["written"] = rows[request["write"]["hook_name"]][:].clone()
results["written.token_ids"] = rows["token_ids"][:].clone()
for number, cache in enumerate(request["read"]):
    store = ActivationsStore.from_cache_activations(runner.model, config(request, **cache, n_sequences=4))
    results[f"read.{number}"], results[f"read.{number}.token_ids"] = served(store)
save_file(results, sys.argv[2])
