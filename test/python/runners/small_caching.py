"""What tests of caching share: the request, a small set of options, what lies in a cache."""

from pathlib import Path

import numpy as np

from pyworker.data.activation_cache import ActivationCache

HOOK = "model.layers.1"


class Session:
    """Keeps what a run says; asks for a stop once ``stop_after`` shards are done."""

    def __init__(self, stop_after: int | None = None):
        self.events: list[tuple[str, dict]] = []
        self.stages: list[tuple] = []
        self.lines: list[str] = []
        self.stop_after = stop_after

    def stage(self, stage, message="", done=None, total=None):
        self.stages.append((stage, done, total))

    def event(self, kind, /, **data):
        self.events.append((kind, data))

    def log(self, level, message):
        self.lines.append(message)

    def stop_requested(self):
        return self.stop_after == sum(1 for kind, _ in self.events if kind == "shard")


def options(place: Path, cache: Path, **changes) -> dict:
    """Ten batches of four sequences of eight tokens in five files, unless ``changes`` say otherwise."""
    return {
        "model_name": str(place),
        "model_class_name": "AutoModelForCausalLM",
        "hook_name": HOOK,
        "d_in": 32,
        "model_kwargs": {},
        "model_from_pretrained_kwargs": {},
        "dataset_path": str(place / "texts.jsonl"),
        "dataset_name": None,
        "dataset_split": "train",
        "dataset_column": None,
        "dataset_trust_remote_code": False,
        "streaming": False,
        "is_dataset_tokenized": None,
        "use_chat_formatting": False,
        "context_size": 8,
        "prepend_bos": True,
        "disable_concat_sequences": False,
        "sequence_separator_token": "bos",
        "seqpos_slice": [None],
        "training_tokens": 38 * 8,
        "shuffle": True,
        "seed": 42,
        "model_batch_size": 4,
        "device": "cpu",
        "dtype": "float32",
        "autocast_lm": False,
        "compile_llm": False,
        "llm_compilation_mode": None,
        "n_threads": 1,
        "new_cached_activations_path": str(cache),
        "buffer_size_gb": 0.000015,
        "hf_repo_id": None,
        "hf_num_shards": None,
        "hf_revision": "main",
        "hf_is_private_repo": False,
        **changes,
    }


def column(cache: ActivationCache, hook: str = HOOK) -> np.ndarray:
    return np.concatenate([b.activations[hook] for shard in cache.shards for b in shard.batches])


def tokens(cache: ActivationCache) -> np.ndarray:
    return np.concatenate([b.token_ids_NS for shard in cache.shards for b in shard.batches])
